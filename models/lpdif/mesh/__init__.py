"""Operations on triangle meshes: topology, trimming, holes, closing, simplification, confidence."""
