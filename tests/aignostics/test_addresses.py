"""Any key of an object leads to one file of its own, on every file system."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataset_dl.aignostics.addresses import GsAddress, place_of, places_of
from dataset_dl.errors import SelectionError
from dataset_dl.model.series import file_sizes
from dataset_dl.plans.names import check_directory, has_control
from dataset_dl.plans.opening import _files_problem

PARTS = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"), exclude_characters="/"), max_size=30
)
KEYS = st.lists(
    PARTS | st.sampled_from(["A", "a", "slide.svs", "Slide.SVS", "con", ".x", "x."]), min_size=1, max_size=4
)


def address(parts: list[str]) -> GsAddress:
    parts = ["_" if part in (".", "..") else part for part in parts]
    return GsAddress.of("gs://a-bucket/" + "/".join([*parts[:-1], parts[-1] or "_"]))


@given(KEYS)
def test_an_address_is_read_as_it_is_written(parts: list[str]) -> None:
    made = address(parts)
    assert GsAddress.of(str(made)) == made
    assert GsAddress.of(str(made).replace("gs://", "GS://", 1)) == made
    assert not made.is_folder


@example([GsAddress("a-bucket", "A/a"), GsAddress("a-bucket", "a/a")])
@given(st.lists(KEYS.map(address), unique=True, max_size=8))
def test_each_object_has_a_file_of_its_own(several: list[GsAddress]) -> None:
    places = places_of(several)
    paths = [f"{place.directory}/{place.name}".casefold() for place in places.values()]
    assert len(set(paths)) == len(several)
    for path in paths:
        assert not any(other.startswith(f"{path}/") for other in paths)
    for each, place in places.items():
        assert place in (place_of(each), place_of(each, is_marked=True))
        assert place.directory.split("/")[0] == "a-bucket"
        assert check_directory(place.directory) is None
        assert not place.name.startswith(".")
        assert _files_problem(f"{place.name}:5", 1, 5) is None
        assert file_sizes(f"{place.name}:5") == {place.name: 5}
        assert len(f".{place.name}.{10**17}.part".encode()) <= 255


@given(st.text(max_size=60))
def test_what_is_no_address_is_refused(text: str) -> None:
    try:
        made = GsAddress.of(text)
    except SelectionError as error:
        assert "nothing was started" in str(error)
        return
    assert text[:5].lower() == "gs://"
    assert not has_control(str(made))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/slide.svs", "slide.svs"),
        ("a/H&E 1 (2).tiff", "H&E 1 (2).tiff"),
        ("a/archive.tar.gz", "archive.tar.gz"),
        ("a/" + "x" * 300 + ".ome.tiff", None),
    ],
)
def test_usual_names_stay(key: str, name: str | None) -> None:
    place = place_of(GsAddress("a-bucket", key))
    assert place.directory == "a-bucket/a"
    assert place.name.endswith(".tiff") if name is None else place.name == name


@pytest.mark.parametrize("key", ["a\nb", "../a", "a/./b", "x" * 1025, "a\u202eb"])
def test_keys_that_no_request_can_name_are_refused(key: str) -> None:
    with pytest.raises(SelectionError):
        GsAddress.of(f"gs://a-bucket/{key}")
