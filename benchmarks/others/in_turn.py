"""One process, one run after the other."""

from task import asked, points, show

if __name__ == "__main__":
    function, axes = asked()
    runs = points(axes)
    show(runs, [function(**run) for run in runs])
