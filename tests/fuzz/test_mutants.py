"""The fuzzer finds mistakes that were planted; two here, all of them by `make mutants`."""

import pytest

from tests.fuzz.mutants import MUTANTS, Mutant, cases_until_found, edited

NAMED = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mistake_fits_the_sources(mutant: Mutant) -> None:
    assert edited(mutant)


def test_names_are_told_apart() -> None:
    assert len(NAMED) == len(MUTANTS)


@pytest.mark.parametrize("name", ["a length one past the end", "a later reason unmerged"])
def test_a_planted_mistake_is_found(name: str) -> None:
    assert cases_until_found(NAMED[name]), "the fuzzer did not see the mistake"
