"""The mm model: address spaces, VMAs, anon_vma and rmap, folios, page tables, faults, brk, migration.

Base line: Linux v6.1, maple tree under mmap_lock. Every module says which kernel files it models and where it is
simpler. The model is correct: historical bugs are patches that live in `stress`.
"""

if __name__ != "sugarbush.vm":
    raise ImportError("import sugarbush.vm: the folder of the repository is a part of the package sugarbush")
