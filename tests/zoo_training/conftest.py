"""The small data and recipes of the tests of zoos, which training them needs, too."""

from tests.zoo.conftest import digits, published_zoo, tiny_recipe

__all__ = ["digits", "published_zoo", "tiny_recipe"]
