"""What may be fetched for others: addresses and tricks by the table, and names by a look-up that the test answers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.errors import InputUrlRefused
from pluggably.net.guard import Guard, GuardedAddresses, LookUp, Place, is_own, is_public

PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
GUARD = Guard()


def knowing(**names: Sequence[str]) -> LookUp:
    """A look-up that knows these names, with `_` for a dot, and no others."""

    async def look_up(host: str) -> Sequence[str]:
        found = names.get(host.replace(".", "_"))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return found

    return look_up


def reach(url: str, guard: Guard = GUARD, look_up: LookUp | None = None) -> list[str]:
    """The addresses that a fetch of the URL would connect to. Raises: InputUrlRefused."""
    place = guard.place(url)
    return asyncio.run(GuardedAddresses(guard, look_up or knowing()).resolve(place.host))


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────

ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata
    "100.127.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.255",
    "168.63.129.16",  # Azure's
    "169.254.0.1",
    "169.254.169.254",  # nearly everybody's
    "169.254.170.2",  # that of ECS
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",  # Oracle's
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:8.8.8.8]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[::8.8.8.8]",
    "[64:ff9b::7f00:1]",  # NAT64
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b:1::a00:1]",
    "[100::1]",
    "[2001::1]",  # Teredo
    "[2001:0:7f00:1::]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",  # 6to4
    "[2002:808:808::1]",
    "[2606:2800::5efe:7f00:1]",  # ISATAP
    "[3fff::1]",
    "[4000::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",  # Amazon's metadata
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",  # site-local
    "[ff02::1]",
    "[ff0e::1]",
]
TRICKS = [
    # other ways to write 127.0.0.1, and other inner addresses
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.1/",
    "http://127.0.1/",
    "http://10.1/",
    "http://0/",
    "http://127.0.0.1./",
    "http://127.0.0.001/",
    "http://127.0.0.256/",
    "http://127.0.0.1.1/",
    "http://1.2.3.0x/",
    "http://foo.0x7f/",
    "http://a.1/",
    # digits and dots that are none of ASCII's
    "http://①②⑦.⓪.⓪.①/",
    "http://127\u30020\u30020\u30021/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127.0.0.1\u200b/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://lo\u00adcalhost/",
    # names
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://inner.example/",
    "http://mixed.example/",
    "http://nothing.example/",
    "http://unknown.example/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://.example.com/",
    "http://example..com/",
    "http://example.com./",
    "http://-example.com/",
    "http://example-.com/",
    "http://exam!ple.com/",
    "http://*.example.com/",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 130}com/",
    f"http://{'ü' * 8000}.com/",
    # what stands before, behind and instead of a host
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\example.com/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://%31%32%37.0.0.1/",
    "http://example%2ecom/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[2606:2800::1/",
    "http://2606:2800::1/",
    "http://[127.0.0.1]/",
    "http://[example.com]/",
    "http://[]/",
    "http://[::1]x/",
    "http:///",
    "http:///etc/passwd",
    "http://",
    "http:example.com",
    "http:/example.com/",
    "//example.com/",
    "",
    # other schemes
    "file:///etc/passwd",
    "ftp://example.com/a",
    "gopher://example.com:70/_x",
    "data:image/png;base64,AAAA",
    "ws://example.com/",
    "httpx://example.com/",
    "javascript:alert(1)",
    # ports
    "http://example.com:22/",
    "http://example.com:6379/",
    "http://example.com:8080/",
    "https://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:99999999999/",
    "http://example.com:-80/",
    "http://example.com:/",
    "http://example.com:80:80/",
    "http://example.com:\uff18\uff10/",
    "http://example.com:80a/",
    # what could end a line, or be dropped on the way
    "http://example.com/\r\nX-Evil: 1",
    "http://example.com/a\nb",
    "http://exa\tmple.com/",
    "http://example.com\r\n/",
    " http://example.com/",
    "http://example.com/ ",
    "http://example.com/a b",
    "http://example.com/\x00",
    "http://example.com/\x7f",
    "http://example.com/\x85",
    "http://example.com/\u2028",
    f"http://example.com/{'a' * 9000}",
]
NAMES = knowing(
    localhost=["127.0.0.1", "::1"],
    inner_example=["10.0.0.7"],
    mixed_example=[PUBLIC, "192.168.0.1"],
    nothing_example=[],
    example_com=[PUBLIC],
    metadata_google_internal=["169.254.169.254"],
)


@pytest.mark.parametrize("host", ADDRESSES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_address_that_is_not_public_is_connected_to(host: str, scheme: str) -> None:
    """Whatever a literal address is for other than the Internet, it is refused."""
    with pytest.raises(InputUrlRefused):
        reach(f"{scheme}://{host}/x")


@pytest.mark.parametrize("host", ADDRESSES)
def test_a_name_that_leads_to_such_an_address_is_refused(host: str) -> None:
    """A name is worth what its addresses are, also where a public one stands before the other."""
    address = host.strip("[]")
    for found in ([address], [PUBLIC, address], [address, PUBLIC_V6]):
        with pytest.raises(InputUrlRefused):
            reach("https://name.example/x", look_up=knowing(name_example=found))


@pytest.mark.parametrize("url", TRICKS)
def test_no_trick_of_writing_gets_through(url: str) -> None:
    """However a URL is written, it leads to a public address or nowhere."""
    with pytest.raises(InputUrlRefused):
        reach(url, look_up=NAMES)


def test_an_inner_name_and_one_that_does_not_exist_get_the_same_answer() -> None:
    """Nobody can ask the gateway which inner names there are."""
    said = []
    for url in ("http://inner.example/", "http://unknown.example/", "http://10.0.0.7/"):
        with pytest.raises(InputUrlRefused) as refused:
            reach(url, look_up=NAMES)
        said.append(refused.value.problem())
    assert said[0] == said[1] == said[2]


def test_this_machines_own_addresses_are_known() -> None:
    """An address of this machine's own is recognised without anything being sent, and no other is taken for one."""
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("192.0.2.1"))


# ── what is let through ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://example.com", Place(False, "example.com", 80, "/")),
        ("https://example.com/", Place(True, "example.com", 443, "/")),
        ("HTTPS://Example.COM/A?b=C", Place(True, "example.com", 443, "/A?b=C")),
        ("https://example.com?x=1", Place(True, "example.com", 443, "/?x=1")),
        ("https://example.com/a#part", Place(True, "example.com", 443, "/a")),
        ("http://example.com:443/", Place(False, "example.com", 443, "/")),
        ("https://example.com:80/", Place(True, "example.com", 80, "/")),
        ("https://a_b-c.example.com/x%20y", Place(True, "a_b-c.example.com", 443, "/x%20y")),
        ("https://bücher.example/ä", Place(True, "xn--bcher-kva.example", 443, "/ä")),
        ("https://xn--bcher-kva.example/", Place(True, "xn--bcher-kva.example", 443, "/")),
        ("https://1.example.com/@user:pass", Place(True, "1.example.com", 443, "/@user:pass")),
        (f"http://{PUBLIC}/", Place(False, PUBLIC, 80, "/")),
        (f"https://[{PUBLIC_V6.upper()}]:443/", Place(True, PUBLIC_V6, 443, "/")),
    ],
)
def test_a_url_is_read(url: str, place: Place) -> None:
    """A URL as people write them is read, with its host in one form."""
    assert GUARD.place(url) == place
    assert GUARD.place(place.url) == place


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", PUBLIC, "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
                "192.0.1.1", "192.167.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", "2001:200::1",
                "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00:1450::1", PUBLIC_V6]
)  # fmt: skip
def test_public_addresses_are_let_through(address: str) -> None:
    """Addresses of the Internet, also those right beside a network that is not, are connected to."""
    assert reach("https://name.example/", look_up=knowing(name_example=[address])) == [address]
    assert is_public(ipaddress.ip_address(address))


def test_all_addresses_of_a_good_name_are_handed_on() -> None:
    """What is connected to is what was looked up and judged, in that order."""
    found = [PUBLIC_V6, PUBLIC]
    assert reach("https://name.example/", look_up=knowing(name_example=found)) == found


# ── what the operator allows ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("inner.example", "http://inner.example/"),
        ("Inner.Example", "http://inner.example/"),
        ("10.0.0.7", "http://10.0.0.7/"),
        ("10.0.0.7", "http://inner.example/"),
        ("10.0.0.0/24", "http://inner.example/"),
        ("fd00::/8", "http://[fd00::5]/"),
        ("::1", "http://[::1]/"),
        ("192.168.0.0/16", "http://mixed.example/"),
    ],
)
def test_a_listed_host_is_let_through(allowed: str, url: str) -> None:
    """The operator's list opens a name, an address or a network, and nothing beside it."""
    guard = Guard([allowed])
    assert reach(url, guard, NAMES)
    with pytest.raises(InputUrlRefused):
        reach("http://169.254.169.254/", guard)
    with pytest.raises(InputUrlRefused):
        reach("http://localhost/", guard, knowing(localhost=["127.0.0.1", "::1"]))


def test_a_listed_name_without_an_address_is_refused() -> None:
    """A name on the list that leads nowhere is no way in."""
    with pytest.raises(InputUrlRefused):
        reach("http://nothing.example/", Guard(["nothing.example"]), NAMES)


def test_a_listed_port_is_one_more() -> None:
    """Other ports are the operator's to open, beside the two usual ones."""
    guard = Guard(allow_ports=[8080])
    assert guard.place("http://example.com:8080/").port == 8080
    assert guard.place("https://example.com/").port == 443
    with pytest.raises(InputUrlRefused, match="80, 443 and 8080"):
        guard.place("http://example.com:8081/")


@pytest.mark.parametrize("entry", ["", "a b", "10.0.0.1/8", "10.0.0.300", "a..b", "host:80", "127.1", "-a"])
def test_an_entry_that_is_nothing_is_no_entry(entry: str) -> None:
    """A list with something in it that is neither a name nor an address nor a network is not taken."""
    with pytest.raises(ValueError):
        Guard([entry])


# ── redirects ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://example.com:443/b"),
        ("b?x", "https://example.com:443/dir/b?x"),
        ("//other.example/c", "https://other.example:443/c"),
        ("https://other.example/c#d", "https://other.example:443/c"),
        ("?q=1", "https://example.com:443/dir/a?q=1"),
    ],
)
def test_a_redirect_is_followed_to_where_it_says(location: str, url: str) -> None:
    """A redirect may say where to in any of the ways that HTTP knows."""
    assert GUARD.redirected(GUARD.place("https://example.com/dir/a"), location).url == url


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/a",
        "http://other.example/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:pw@example.com/",
        "https://example.com:8443/",
        "//2130706433/",
        "https://[",
        "https://[::1",
        "\\\\other.example\\x",
        "/a\r\nSet-Cookie: x",
        "https://other.example/\t",
        "",
    ],
)
def test_a_redirect_is_judged_like_a_url(location: str) -> None:
    """A redirect leads to nothing that a URL may not lead to, nor from https to http."""
    with pytest.raises(InputUrlRefused):
        GUARD.redirected(GUARD.place("https://example.com/a"), location)


def test_a_redirect_to_https_is_fine() -> None:
    """Towards safety a redirect may change the scheme."""
    assert GUARD.redirected(GUARD.place("http://example.com/a"), "https://example.com/a").tls


# ── anything at all ─────────────────────────────────────────────────────────────────────────────────────────────────

hosts = st.one_of(
    st.text(max_size=30),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda one: f"[{one}]"),
    st.integers(0, 2**32).map(str),
    st.sampled_from(["localhost", "example.com", "①②⑦.1", "0x7f.1", "[::1]", "a@b", "%31"]),
)
urls = st.one_of(
    st.text(max_size=60),
    st.builds(
        lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
        st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
        hosts,
        st.sampled_from(["", ":80", ":443", ":22", ":", ":x"]),
        st.text(max_size=20).map(lambda text: f"/{text}"),
    ),
)


@given(urls)
def test_anything_is_a_place_or_refused(url: str) -> None:
    """Whatever a client writes, it is refused in words, or it leads to a public address by a URL that others read the
    same way."""

    async def look_up(host: str) -> Sequence[str]:
        host.encode("ascii")
        return [PUBLIC]

    try:
        place = GUARD.place(url)
        [address] = asyncio.run(GuardedAddresses(GUARD, look_up).resolve(place.host))
    except InputUrlRefused as refused:
        assert url == "" or len(url) < 4 or url not in refused.detail
        return
    assert is_public(ipaddress.ip_address(address))
    parts = urlsplit(place.url)
    assert (parts.hostname, parts.port, parts.username) == (place.host, place.port, None)


@given(st.text(max_size=60))
def test_any_redirect_is_a_place_or_refused(location: str) -> None:
    """Whatever a server writes into `Location`, it is refused in words or leads to an https URL."""
    with suppress(InputUrlRefused):
        assert GUARD.redirected(GUARD.place("https://example.com/a"), location).tls
