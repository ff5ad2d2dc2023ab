"""The documents hold. The tour of the REST interface: every command is run as it is written, and says what is written
below it. Operations: nothing is missing, and nothing is told of that is not there."""

import re
import subprocess

from prometheus_client.parser import text_string_to_metric_families

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


# ---- docs/operations.md ----

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def section(title):
    return re.search(r"^## %s.*?(?=^## |\Z)" % re.escape(title), OPERATIONS, re.S | re.M).group()


def first_column(text):
    """What stands in backquotes in the first cells of a table."""
    return {name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([^`]*)`", row)}


def calls_of(function, path):
    """The arguments of each call of a function in a C file, as texts."""
    text = path.read_text()
    for match in re.finditer(r"(?<![\w.>])%s\(" % function, text):
        depth, start, found, quoted = 0, match.end(), [], False
        for at in range(start, len(text)):
            if text[at] == '"' and text[at - 1] != "\\":
                quoted = not quoted
            if quoted:
                continue
            if text[at] in "([{":
                depth += 1
            elif text[at] in ")]}" and depth:
                depth -= 1
            elif text[at] == ")" or (text[at] == "," and not depth):
                found.append(text[start:at].strip())
                start = at + 1
                if text[at] == ")":
                    break
        yield found


def sources():
    return [path for layer in ("base", "store", "proto", "server", "api") for path in (ROOT / layer).glob("*.c")]


def test_operations_tells_of_every_metric_and_of_no_other(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("db", l4("10.0.0.1", world.ip(1) + ":5432"))
    api = Api(world, agent).wait_exposures(1)
    shown = {family.name + ("_total" if family.type == "counter" else "")
             for family in text_string_to_metric_families(api.get("/metrics").body.decode())}
    assert len(shown) > 20
    assert first_column(section("Metrics")) == shown


def test_operations_tells_of_every_alarm():
    names = set()
    for path in sources():
        for function, place in (("store_set_alarm", 1), ("alarm_board_set", 1), ("add_alarm", 2),
                                ("a->options.alarm", 1)):
            for arguments in calls_of(function, path):
                names |= set(re.findall(r'^"([^"]*)"$', arguments[place] if len(arguments) > place else ""))
    assert {"config.db", "agent"} <= names
    assert first_column(section("Alarms")) - {"certificate NS/sec/NAME", "gateway NAME", "proxy ID", "token NAME"} == names


def test_operations_tells_of_every_warning_and_error_in_the_log():
    lines = set()
    for path in sources():
        for function, place in (("log_event", 1), ("log_err", 2)):
            for arguments in calls_of(function, path):
                if re.search("LOG_LEVEL_(WARNING|ERROR)", arguments[0]):
                    lines |= set(re.findall(r'"([^"]*)"', arguments[place]))
        for arguments in calls_of("tell_failure", path):
            lines |= set(re.findall(r'"([^"]*)"', arguments[1]))
    # Of a line with two texts, by what it tells of.
    lines -= {"state is current"}
    told = first_column(section("Log lines that ask for something"))
    assert len(lines) > 25
    assert told == lines


def test_what_operations_says_to_ask_is_answered(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("db", l4("10.0.0.1", world.ip(1) + ":5432"))
    api = Api(world, agent).wait_exposures(1)
    asked = set(re.findall(r"`api '?(/[^ '`]*)'?`", OPERATIONS)) | {"/metrics"}
    assert len(asked) >= 8
    revision = api.v1("/revisions")["items"][0]["number"]
    for path in asked:
        response = api.get(path.replace("/N/", "/%d/" % revision))
        assert response.status == 200, (path, response)
