"""`inlined`: a function as one compiled program where it is called eagerly."""

import functools

import jax

inlined = functools.partial(jax.jit, inline=True)
"""jax.jit whose function leaves nothing but its operations inside of another trace, so that what is compiled there stays as it is.

Eagerly every operation is a program of its own, 10 to 30 ms of compiling for each new shape; arguments after the first few
that are no arrays are named by `functools.partial(inlined, static_argnames=...)`.
"""
