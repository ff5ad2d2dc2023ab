"""The tour of the REST interface: every command is run as it is written, and says what is written below it."""

import re
import subprocess

from api_client import Api
from declare import l4, l7
from harness import LIMIT, ROOT, wait_answer, wait_until


def blocks(text):
    """The console blocks, each a list of (command, lines of its answer)."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.S | re.M):
        steps = []
        lines = iter(block.splitlines())
        for line in lines:
            if not line.startswith("$ "):
                steps[-1][1].append(line)
                continue
            command = [line[2:]]
            # A command goes on while a quote or a backslash is open.
            while subprocess.run(["bash", "-n", "-c", "\n".join(command)], capture_output=True,
                                 check=False).returncode or command[-1].endswith("\\"):
                command.append(next(lines))
            steps.append(("\n".join(command), []))
        yield steps


def test_the_tour_of_the_rest_interface_can_be_taken(world):
    agent = world.agent(nodes=["n1", "n2"])
    one, two = world.backend(10, name="one"), world.backend(11, name="two")
    agent.add_service("db", l4(two.address, world.ip(1) + ":5432"))
    agent.add_service("test/svc/web", l7(one.address, world.ip(1) + ":8000", "www.example.org"))
    api = Api(world, agent).wait_exposures(2)
    world.envoy(api.igwd).wait_live()
    wait_answer(world.ip(1) + ":8000", backend="one", host="www.example.org")
    wait_until(lambda: all(item["status"]["programmed"]["state"] == "ok"
                           for item in api.v1("/exposures")["items"]))

    def here(text):
        for place, mine in (("/run/igwd/api.sock", api.socket), ("192.0.2.1", world.ip(1)),
                            ("10.0.0.10", one.address), ("10.0.0.11", two.address)):
            text = text.replace(place, mine)
        return text

    shell = []  # functions and variables are there for all that follows
    count = 0
    for steps in blocks((ROOT / "docs" / "api.md").read_text()):
        for command, expected in steps:
            command = here(command)
            done = subprocess.run(["bash", "-c", "\n".join(["set -o pipefail", *shell, command])], capture_output=True,
                                  text=True, timeout=LIMIT, check=False, cwd=world.directory)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            if expected:
                assert done.stdout.splitlines() == [here(line) for line in expected], (command, done.stderr)
            if re.match(r"\w+(\(\)|=)", command):
                shell.append(command)
            count += 1
    assert count > 20
