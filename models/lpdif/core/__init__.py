"""The method of the paper, LP-DIF (CVPR 2023), on arrays and tensors.

    points -> regions -> frames -> encoder -> codes -> patterns -> decoder of each pattern -> one signed distance field
              regions    frames    encoder             patterns    multi_decoder               field

A shape is many small regions (`regions`). Each is turned into its own frame (`frames`), and the encoder (`encoder`) makes a code of the
points in it: a height field that is solved for (`jets`) and a learned part. Codes are clustered into patterns (`patterns`); every pattern
has a decoder of its own (`multi_decoder`). Blended by their distance to the region's centre, the decoders' answers are one field
(`field`). In training (`optimizer`), regions of rare kinds count for more, by a density estimate of the codes of their pattern (`kde`), and
every region is seen as a scanner might see it (`augment`). `model` holds what is learned, `encode` does the way from points to codes
for a whole scan, `refine` fits the codes to the points once more, `gap_regions` carries the surface on across gaps.
"""
