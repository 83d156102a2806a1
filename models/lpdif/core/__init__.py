"""The method of the paper, LP-DIF (CVPR 2023), on arrays and tensors.

    points -> regions -> sheets -> form -> frames -> encoder -> codes -> pattern -> its decoder -> one signed distance field
              regions    sheets    forms   frames    encoder             patterns   multi_decoder  field

A shape is many small regions (`regions`). The points of each are shared out among the sheets of surface that meet in it (`sheets`), and the
gate says in which form they meet (`forms`). Each sheet is turned into its own frame (`frames`), and the encoder (`encoder`) makes a code of
its points: a height field that is solved for (`jets`) and a learned part. Regions that share a form share a pattern, and smooth ones are
clustered by their codes (`patterns`); every pattern has a decoder of its own (`multi_decoder`). Put together by their form, and blended by
their distance to the region's centre, the decoders' answers are one field (`field`). In training (`optimizer`, `losses`), regions of rare
kinds count for more, by a density estimate of the codes of their pattern (`kde`), and every region is seen as a scanner might see it
(`augment`). `model` holds what is learned, `encode` does the way from points to codes for a whole scan, `refine` fits the codes to the
points once more, `gap_regions` carries the surface on across gaps.
"""
