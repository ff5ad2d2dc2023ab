"""proto/generate.py: what the build depends on is the same in every run, and left alone when nothing changed."""

import os
import pathlib
import subprocess
import sys

GENERATOR = pathlib.Path(__file__).resolve().parents[2] / "proto" / "generate.py"


def generate(out, seed):
    subprocess.run([sys.executable, GENERATOR, "--out", out], check=True, timeout=60,
                   env={**os.environ, "PYTHONHASHSEED": str(seed)})
    return {path.relative_to(out): path for path in sorted(out.rglob("*")) if path.is_file()}


def test_the_same_schema_gives_the_same_bytes_and_touches_nothing_twice(tmp_path):
    first = generate(tmp_path / "a", 1)
    second = generate(tmp_path / "b", 2)
    assert first.keys() == second.keys() and len(first) > 100
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name

    stale = tmp_path / "a" / "c" / "envoy" / "gone.pb-c.c"
    stale.write_text("left by a schema that had more")
    changed = first[pathlib.Path("schema_tables.c")]
    whole = changed.read_bytes()
    changed.write_bytes(whole[:-1])
    for path in first.values():
        os.utime(path, (1, 1))
    again = generate(tmp_path / "a", 3)
    assert again.keys() == first.keys()
    assert changed.read_bytes() == whole
    touched = {str(name) for name, path in again.items() if path.stat().st_mtime > 1}
    assert touched == {"schema_tables.c", "stamp"}
