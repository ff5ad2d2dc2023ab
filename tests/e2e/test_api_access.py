"""Who may ask over TCP, and how a browser logs in and out."""

import datetime
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from api_client import TOKEN, VIEWER, Api, Stream, bearer, certificate, digest, pointers
from declare import l4
from harness import IGWD, SLOW, exchange, wait_until

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def api(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("test/svc/web1", l4("10.0.0.1", "127.9.9.9:8080"))
    return Api(world, agent).wait_exposures(1)


def log_in(api, token=TOKEN):
    """Options of a request: as the session that this begins; and the session."""
    response = api.post("/sessions", None, **bearer(token))
    assert response.status == 201, (response, response.body)
    return {"headers": {"Cookie": response.headers["Set-Cookie"].split(";")[0], **SAME}, "tcp": True}, response


def whoami(api, options):
    return api.get("/api/v1/auth/whoami", **options)


@pytest.mark.sanitized
def test_a_browser_logs_in_with_a_token_reads_writes_watches_and_logs_out(api):
    browser, response = log_in(api)
    assert re.fullmatch(r"igwd-80=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Strict",
                        response.headers["Set-Cookie"])
    session = response.json
    assert (session["name"], session["role"], session["method"]) == ("boss", "admin", "token")
    assert session["status"]["current"] and response.headers["Location"] == "/api/v1/sessions/" + session["id"]
    who = whoami(api, browser).json
    assert (who["name"], who["role"], who["method"], who["session"]) == ("boss", "admin", "session", session["id"])
    assert who["expires_at"] == session["expires_at"]
    done = api.write("PATCH", "/exposures/test%2Fsvc%2Fweb1.expose%230", {"lb_policy": "random"},
                     "application/merge-patch+json", **browser)
    assert done.status == 200 and api.v1("/audit")["items"][0]["author"] == "boss"
    with api.connect(tcp=True) as s:
        answer = api.exchange(s, "/api/v1/events?seconds=0&after=1.1", headers=browser["headers"])
    assert answer.status == 200 and b"event: resync" in answer.body
    out = api.delete("/sessions", **browser)
    assert out.status == 204 and "igwd-80=; " in out.headers["Set-Cookie"]
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    refused = whoami(api, browser)
    assert refused.status == 401 and "log in" in refused.json["detail"]
    secret = browser["headers"]["Cookie"].partition("=")[2]
    assert secret not in api.igwd.log_text() and secret not in response.body.decode()


def test_a_session_ends_with_its_token(api):
    made = api.post("/tokens", {"name": "dash", "role": "operator", "gateways": ["envoy"]}).json
    browser, response = log_in(api, made["token"])
    assert response.json["role"] == "operator" and response.json["gateways"] == ["envoy"]
    assert whoami(api, browser).status == 200
    api.delete("/tokens/" + made["object"]["id"])
    assert whoami(api, browser).status == 401
    assert response.json["id"] not in api.get("/api/v1/sessions").body.decode()


def test_a_session_ends_when_the_role_of_its_token_changes(api):
    browser, _ = log_in(api, VIEWER)
    assert whoami(api, browser).json["role"] == "viewer"
    with open(api.tokens, "w", encoding="ascii") as file:
        file.write("boss admin %s\nguest admin %s\n" % (digest(TOKEN), digest(VIEWER)))
    api.igwd.signal(signal.SIGHUP)
    wait_until(lambda: api.v1("/auth/whoami", **bearer(VIEWER))["role"] == "admin")
    assert whoami(api, browser).status == 401


@pytest.mark.sanitized
def test_an_open_stream_of_events_ends_with_what_it_was_let_in_by(api):
    made = api.post("/tokens", {"name": "script", "role": "viewer"}).json
    browser, response = log_in(api)
    cookie = "Cookie: %s\r\n" % browser["headers"]["Cookie"]
    by_token, by_session, by_file, stays = (Stream(api, headers=field, tcp=True) for field in (
        "Authorization: Bearer %s\r\n" % made["token"], cookie, "Authorization: Bearer %s\r\n" % VIEWER,
        "Authorization: Bearer %s\r\n" % TOKEN))
    for stream in (by_token, by_session, by_file, stays):
        assert next(stream.blocks()) == ":"
    assert api.delete("/tokens/" + made["object"]["id"]).status == 200
    assert api.delete("/sessions/" + response.json["id"]).status == 204
    # The file's are read again.
    with open(api.tokens, "w", encoding="ascii") as f:
        f.write("boss admin %s\n" % digest(TOKEN))
    api.igwd.signal(signal.SIGHUP)
    for stream in (by_token, by_session, by_file):
        list(stream.blocks())  # to its end
    api.agent.add_service("test/svc/web2", l4("10.0.0.2", "127.9.9.9:8081"))
    stays.until(lambda data: data["name"] == "test/svc/web2.expose#0")


def test_a_restart_ends_all_sessions(api):
    browser, _ = log_in(api)
    api.igwd.restart(kill=True)
    api.wait_live()
    assert whoami(api, browser).status == 401
    assert api.v1("/sessions")["items"] == []


def test_everybody_sees_their_own_sessions_and_administrators_all(api):
    viewer, seen = log_in(api, VIEWER)
    other, also = log_in(api, VIEWER)
    boss, bosses = log_in(api)
    ids = {r.json["id"] for r in (seen, also, bosses)}
    assert {s["id"] for s in api.v1("/sessions", **viewer)["items"]} == ids - {bosses.json["id"]}
    assert {s["id"] for s in api.v1("/sessions", **bearer(VIEWER))["items"]} == ids - {bosses.json["id"]}
    assert {s["id"] for s in api.v1("/sessions", **boss)["items"]} == ids
    assert {s["id"]: s["status"]["current"] for s in api.v1("/sessions?name=guest&fields=id,status.current", **viewer)
            ["items"]} == {seen.json["id"]: True, also.json["id"]: False}
    assert api.get("/api/v1/sessions/" + bosses.json["id"], **viewer).status == 404
    assert api.delete("/sessions/" + bosses.json["id"], **viewer).status == 404, "others' are none of a viewer's"
    assert api.delete("/sessions/" + also.json["id"], **viewer).status == 204
    assert whoami(api, other).status == 401 and whoami(api, viewer).status == 200
    assert api.delete("/sessions/" + seen.json["id"]).status == 204, "root ends any"
    assert whoami(api, viewer).status == 401
    assert api.delete("/sessions/" + seen.json["id"]).status == 404


@pytest.mark.parametrize("said", [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.test"},
    {"Origin": "http://localhost:81"}, {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, {}])
def test_a_cookie_changes_nothing_from_elsewhere(api, said):
    browser, _ = log_in(api)
    headers = {"Cookie": browser["headers"]["Cookie"], **said}
    for method, path, body in (("PUT", "/exposures/a.expose%230", {"port": 1}), ("POST", "/explain", {"port": 80}),
                               ("DELETE", "/sessions", None), ("PATCH", "/nothing", None)):
        response = api.write(method, path, body, headers=headers, tcp=True)
        assert response.status == 403 and response.headers["Content-Type"] == "application/problem+json"
        assert ("another origin" if said else "where the request comes from") in response.json["detail"]
    assert whoami(api, browser).status == 200, "it was not ended, and may read"


def test_an_origin_that_names_the_host_is_enough_for_old_browsers(api):
    browser, _ = log_in(api)
    headers = {"Cookie": browser["headers"]["Cookie"], "Origin": "http://localhost"}
    assert api.delete("/sessions", headers=headers, tcp=True).status == 204


def test_a_session_is_not_begun_from_a_page_of_elsewhere_nor_by_a_session_nor_without_anything(api):
    token = bearer(TOKEN)["headers"]
    assert api.post("/sessions", None, headers={**token, "Sec-Fetch-Site": "cross-site"}, tcp=True).status == 403
    assert api.post("/sessions", None, headers={**token, **SAME}, tcp=True).status == 201
    browser, _ = log_in(api)
    assert api.post("/sessions", None, **browser).status == 403
    assert api.post("/sessions", None, tcp=True).status == 401
    assert api.post("/sessions", None).status == 403, "the unix socket knows its peers"
    assert api.post("/sessions", {"token": TOKEN}, **bearer(TOKEN)).status == 400, "it takes no content"
    assert api.delete("/sessions", **bearer(TOKEN)).status == 404


def test_a_second_login_ends_the_browsers_first_session(api):
    first, response = log_in(api)
    again = api.post("/sessions", None, headers={**first["headers"], **bearer(VIEWER)["headers"]}, tcp=True)
    assert again.status == 201 and again.json["role"] == "viewer"
    assert whoami(api, first).status == 401
    assert [s["id"] for s in api.v1("/sessions")["items"]] == [again.json["id"]]


def test_a_token_has_so_many_sessions_and_no_more(api):
    browsers = [log_in(api, VIEWER) for _ in range(17)]
    boss, _ = log_in(api)
    assert len(api.v1("/sessions?name=guest")["items"]) == 16
    assert [whoami(api, b).status for b, _ in browsers] == [401] + [200] * 16
    assert whoami(api, boss).status == 200


def test_a_cookie_means_nothing_on_the_unix_socket(api):
    browser, _ = log_in(api, VIEWER)
    who = whoami(api, {"headers": browser["headers"]}).json
    assert (who["method"], who["role"], who["session"]) == ("unix", "admin", None)


def fail(api, **options):
    return api.get("/api/v1/version", headers={"Authorization": "Bearer igwd_" + "x" * 43}, tcp=True, **options)


@pytest.mark.sanitized
def test_failed_logins_are_throttled_and_good_ones_never(api):
    answers = [fail(api) for _ in range(40)]
    assert [a.status for a in answers[:20]] == [401] * 20
    throttled = answers[-1]
    assert throttled.status == 429 and 1 <= int(throttled.headers["Retry-After"]) <= 3
    assert throttled.headers["Content-Type"] == "application/problem+json"
    assert "try again" in throttled.json["detail"]
    assert api.post("/sessions", None, **bearer("igwd_" + "y" * 43)).status == 429
    assert api.get("/api/v1/version", **bearer(VIEWER)).status == 200, "a good token is let in"
    browser, _ = log_in(api)
    assert whoami(api, browser).status == 200
    assert api.get("/api/v1/version", tcp=True).status == 401, "nothing was tried"
    assert api.get("/api/v1/version", headers={"Cookie": "igwd-80=over"}, tcp=True).status == 401
    assert api.v1("/version")["api"] == "v1", "the unix socket is not concerned"
    assert api.igwd.log_text().count("too many failed logins") == 1
    metrics = api.get("/metrics").body.decode()
    counts = {answer: int(re.search(r'igwd_failed_logins_total{answer="%s"} (\d+)' % answer, metrics).group(1))
              for answer in ("refused", "throttled")}
    assert counts["refused"] + counts["throttled"] == 41 and counts["throttled"] >= 15
    assert "igwd_sessions 1\n" in metrics


def test_an_address_is_not_throttled_for_what_others_do(api):
    def from_(source):
        with socket.create_connection(tuple(api.tcp.rsplit(":", 1)), source_address=(source, 0)) as s:
            return Api.exchange(s, "/api/v1/version", headers={"Authorization": "Bearer wrong"})
    statuses = [from_("127.0.0.9").status for _ in range(30)]
    assert statuses[:20] == [401] * 20 and 429 in statuses
    assert from_("127.0.0.8").status == 401


def memory_holds(pid, text):
    """How often a text stands in what a process can write to."""
    n = 0
    with open("/proc/%d/maps" % pid, encoding="ascii") as maps, open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if "w" in rights and "[v" not in line:
                first, last = (int(x, 16) for x in place.split("-"))
                memory.seek(first)
                n += memory.read(last - first).count(text)
    return n


def test_what_a_request_had_of_secrets_is_not_left_in_memory(api):
    secret = b"Tr0ub4dor" + os.urandom(16).hex().encode()
    key = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\\n" + secret * 400 + b"\\n-----END ENCRYPTED PRIVATE KEY-----\\n"
    body = b'{"certificate_chain": "none", "private_key": "%s", "password": "%s"}' % (key, secret)
    answer = api.put(certificate("test/sec/a"), body)
    assert answer.status == 422 and secret not in answer.body
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:100], body[100:5000], body[5000:])) + b"0\r\n\r\n"
    answer = api.raw(b"PUT /api/v1/certificates/a%2Fsec%2Fa HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                     b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + pieces)
    assert answer.startswith(b"HTTP/1.1 422 "), answer
    wait_until(lambda: memory_holds(api.igwd.child.pid, secret) == 0)


def in_seconds(seconds):
    """A time to come, as RFC 3339 has it."""
    return datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc).isoformat()


def expires(api, life):
    """Looks at a token of so many seconds. False: a moment passed unseen, since the machine is too busy for so short a life.
    It is warned of in its last quarter; its alarm is over as long after its end."""
    place, name = api.v1("/exposures")["event"], "night-%d" % life
    made = api.post("/tokens", {"name": name, "role": "viewer", "expires_at": in_seconds(life)}).json
    known, mine = bearer(made["token"]), "/tokens/" + made["object"]["id"]
    ends = made["object"]["expires_at"]
    begin, end = (datetime.datetime.fromisoformat(at).timestamp() for at in (made["object"]["created_at"], ends))
    browser, session = log_in(api, made["token"])
    who, state = whoami(api, known).json, api.v1(mine)["status"]["state"]
    watch = Stream(api, "?kind=Token&after=" + place)
    theirs = Stream(api, headers="Authorization: Bearer %s\r\n" % made["token"], tcp=True)

    def alarm(**options):
        return {a["name"]: a for a in api.v1("/alarms", **options)["items"]}.get("token " + name)

    def told():
        watch.until(lambda data: data["kind"] == "Token" and data["name"] == made["object"]["id"])
    told()
    warned, others, soon = alarm(), alarm(**bearer(VIEWER)), api.v1(mine)["status"]["state"]
    if time.time() >= end:
        return False
    assert who["expires_at"] == session.json["expires_at"] == ends and state in ("valid", "expires_soon")
    assert "it expires at " + ends == warned["text"] and warned["since"] < ends
    assert others is None, "tokens are the administrators' to know of"
    assert soon == "expires_soon"
    told()  # it is over
    over = alarm()
    if time.time() >= end + (end - begin) / 4:
        return False
    assert "it expired" in over["text"] and over["since"] == ends
    refused = whoami(api, known)
    assert refused.status == 401 and refused.json["detail"] == "the token expired at " + ends
    assert whoami(api, browser).status == 401, "its sessions end with it"
    assert all("Token" not in block for block in theirs.blocks()), "and its streams: these are all that it was told"
    assert api.v1(mine)["status"]["state"] == "expired"
    told()
    assert alarm() is None, "who has many of an hour need not tidy up"
    assert b"event: Token" not in api.get("/api/v1/events?seconds=0&after=" + place, **bearer(VIEWER)).body
    api.igwd.restart(kill=True)
    api.wait_live()
    assert whoami(api, known).status == 401
    return True


def test_a_token_says_when_it_expires_then_is_refused_with_the_reason(api):
    life = 4
    while not expires(api, life):
        life *= 2


def test_a_token_expires_at_a_time_to_come_or_never(api):
    for when in ("2020-01-01T00:00:00Z", "tomorrow", "2027-02-30T00:00:00Z", "2099-01-01", "", 5):
        assert pointers(api.post("/tokens", {"name": "x", "role": "viewer", "expires_at": when})) == {"#/expires_at"}
    made = api.post("/tokens", {"name": "x", "role": "viewer"}).json["object"]
    assert made["expires_at"] is None and made["status"] == {"state": "valid"}


def token_create(api, name, when):
    return subprocess.run([IGWD, "token", "create", name, "viewer", "--api", "unix:" + api.socket, "--expires=" + when],
                          capture_output=True, text=True, timeout=30, check=False)


def test_the_command_makes_tokens_that_expire(api):
    for when, seconds in (("90d", 90 * 86400), ("12h", 12 * 3600), ("6w", 42 * 86400), ("1h30m", 5400)):
        made = token_create(api, "after-" + when, when)
        assert made.returncode == 0, made.stderr
        ends = datetime.datetime.fromisoformat(whoami(api, bearer(made.stdout.strip())).json["expires_at"])
        assert seconds - 60 * SLOW < ends.timestamp() - time.time() <= seconds, when
    for i, (when, ends) in enumerate({"2099-01-31": "2099-01-31T00:00:00.000Z",
                                      "2099-01-31T12:00:00+02:00": "2099-01-31T10:00:00.000Z"}.items()):
        made = token_create(api, "at-%d" % i, when)
        assert whoami(api, bearer(made.stdout.strip())).json["expires_at"] == ends


def test_the_command_makes_no_token_without_a_time_to_come(api):
    for when in ("90", "soon", "-1d", "0d", "2020-01-01", "2099-13-01", "90days", ""):
        made = token_create(api, "x", when)
        assert made.returncode in (1, 2) and not made.stdout, when
        assert "is expected" in made.stderr or "this time is over" in made.stderr, made.stderr
    assert api.v1("/tokens")["items"] == []
