"""A machine that executes PTX on a CPU, one warp's instruction at a time.

It takes what a bundle holds, a kernel's text and its launch, and does what the PTX ISA says: registers and
predicates, global and shared memory, shuffles, matrix fragments, asynchronous copies and matrix products,
barriers. Warps run in an order that a seed chooses. Where a GPU would compute nonsense, or might on another
day, it raises a :class:`~ptx_machine.faults.Fault`: addresses outside every buffer or out of alignment,
bytes that nobody wrote, bytes that two warps touch in no order, copies and products that nobody waited for,
barriers that not all reach.

It computes like a GPU in the order of operations that a warp sees, not in time: what ptxas makes of the
PTX, and how fast that is, it cannot tell. Matrix products sum exactly and round once; hardware keeps fewer
bits on the way.

=================  ========================================================================================
module             content
=================  ========================================================================================
``syntax``         text to instructions with typed operands
``arithmetic``     floating-point types as bits; rounding, ``fma``, ``ex2``, ``prmt``
``memory``         global, shared and tensor memory; vector clocks, mbarrier objects, asynchronous copies
``matrices``       ``ldmatrix``, ``stmatrix``, ``mma.sync``; ``wgmma`` with its descriptors
``warp``           the registers of 32 threads, and their memory accesses
``instructions``   each instruction as a function of a warp
``program``        a kernel as a list of them
``launch``         blocks, schedules and the report of a launch
``driver``         a stand-in for ``cuda.bindings.driver`` over all this
=================  ========================================================================================
"""
