"""Runs Python code and tells at its end what it cost: python timed.py FILE (SCRIPT | -m MODULE | -c CODE) ..."""

import atexit
import sys

out = sys.argv[1]
del sys.argv[:2]


def _tell() -> None:
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        peak = next(line for line in status if line.startswith("VmHWM")).split()[1]
    with open(out, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(
            f'{{"self": {own.ru_utime + own.ru_stime}, "peak_kb": {peak},'
            f' "children": {children.ru_utime + children.ru_stime}}}'
        )


# Registered first, so it runs last.
atexit.register(_tell)
sys.path[0] = ""
if sys.argv[0] == "-c":
    code = sys.argv[1]
    del sys.argv[1]
    exec(compile(code, "<benchmark>", "exec"), {"__name__": "__main__"})
elif sys.argv[0] == "-m":
    import runpy

    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    import runpy

    runpy.run_path(sys.argv[0], run_name="__main__")
