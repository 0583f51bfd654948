"""Other people's functions of positions as masks.

trace.py        calls the function on the index variables, and puts the parts below together
values.py       what it is called with: nodes that answer as arrays of numbers would
dtypes.py       the number types they have in the user's framework, and when these wrap around
reals.py        fractions and infinities, as far as comparing them is exact
rows.py         look-ups in the user's arrays
operations.py   what operators mean
functions.py    what methods and functions of torch, NumPy and JAX mean, by name
paths.py        every way through the ifs of a function
rewired.py      a copy of the function whose arrays answer traced positions
positions.py    where a trace is compared with its function
check.py        the comparison, in the function's own framework
"""
