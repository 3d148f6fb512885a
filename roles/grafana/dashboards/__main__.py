"""Write every dashboard to the grafana role."""

from . import OUTPUT, render

OUTPUT.mkdir(parents=True, exist_ok=True)
boards = render()
for stale in {path.name for path in OUTPUT.glob("*.json")} - boards.keys():
    (OUTPUT / stale).unlink()
for name, text in boards.items():
    (OUTPUT / name).write_text(text, encoding="utf-8")
    print(OUTPUT / name)
