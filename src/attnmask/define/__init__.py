"""What may attend to what: masks as expressions of a small closed language.

language  mask  frame  tables  kind    what a mask is made of, and where it is seen
masks/  selections/                    the kinds, one a file
parts/                                 what the files of masks/ share: grids, edges, forests, rows, lengths
normal/                                one form for all spellings of a mask, by laws that are proved
bounds/                                what is known of a mask on a whole tile, without looking at its positions
proof/                                 what holds for all lengths
text/                                  masks as text, and back
tracing/                               other people's functions as masks
fit  shift  within                     a mask in a frame, from other coordinates, inside documents
"""
