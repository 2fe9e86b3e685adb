"""Run every check function of the named modules; for an interpreter without pytest: `micropython run_checks.py MODULE…`."""

import sys


def checks_of(module):
    """Return [(name, function)]: the functions named check_…."""
    names = sorted([name for name in dir(module) if name.startswith("check_")])
    return [(name, getattr(module, name)) for name in names]


def main(modules):
    count = 0
    for name in modules:
        module = __import__(name, None, None, ["x"])
        for check, function in checks_of(module):
            print(check)  # noqa: T201
            function()
            count += 1
    print("checks ok:", count)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
