"""The benchmark of rewordings: its held-out words, samples and errors."""

import importlib
import random

import torch

from sds3d.procedural.objects import sample_object
from sds3d.procedural.objects.vocabulary import HELD_OUT
from sds3d.procedural.objects.wordings import INVERSE, SYNONYMS, reword
from tests.helpers.words import words

wordings = importlib.import_module("benchmarks.wordings")


def test_rewording_keeps_word_borders_and_articles() -> None:
    for trained, unseen in (
        ("a red car with blue stripes", "a crimson automobile with azure stripes"),
        ("an axe", "a hatchet"),
        ("a 3d model of a robot, white head", "a 3d model of an android, ivory head"),
        ("a carrot beside a pine tree", "a carrot beside a fir"),
        ("a teapot", "a teapot"),
    ):
        assert reword(trained, SYNONYMS) == unseen
        assert reword(unseen, INVERSE) == trained


def test_rewording_can_be_undone(captions: list[str]) -> None:
    assert len(INVERSE) == len(SYNONYMS)
    for caption in captions:
        assert reword(reword(caption, SYNONYMS), INVERSE) == caption


def test_synonyms_pair_trained_words_with_held_out_ones(captions: list[str]) -> None:
    spoken = set().union(*map(words, captions))
    assert {word for trained in SYNONYMS for word in trained.split()} <= spoken
    assert set(INVERSE) <= set(HELD_OUT)
    assert not set(INVERSE) & spoken


def test_sampled_captions_differ_only_in_held_out_words() -> None:
    samples = wordings.draw_samples(20, seed=3)
    again = wordings.draw_samples(20, seed=3)
    assert [sample.caption for sample in samples] == [sample.caption for sample in again]
    for sample in samples:
        assert words(sample.held_out_caption) & set(HELD_OUT) and not words(sample.caption) & set(HELD_OUT)


def test_remaining_share() -> None:
    assert wordings.remaining_share(true=1.0, held_out=1.0, empty=3.0) == 1
    assert wordings.remaining_share(true=1.0, held_out=3.0, empty=3.0) == 0
    assert wordings.remaining_share(true=1.0, held_out=1.5, empty=3.0) == 0.75


def test_errors_of_a_prior_that_knows_one_word() -> None:
    """The fake prior predicts x0 exactly if the text contains "red"; otherwise its error is 0.1."""

    class Knowing:
        num_views, resolution, normals = 4, 16, False
        alphas_cumprod = torch.linspace(0.99, 0.01, 100)

        def encode_prompt(self, prompt: str, negative: bool = False) -> torch.Tensor:
            return torch.tensor([float(words(prompt) >= {"red"})])

        def encode_images(self, images: torch.Tensor) -> torch.Tensor:
            self.x0 = images
            return images

        def predict_noise(self, noisy, timesteps, texts, cameras, backgrounds):
            alpha = self.alphas_cumprod[timesteps[0]]
            guesses = [self.x0 + 0.1 * (1 - text) for text in texts]
            return [(noisy - alpha.sqrt() * guess) / (1 - alpha).sqrt() for guess in guesses]

    parts = sample_object(random.Random(0))[0]
    samples = [wordings.Sample(parts, "a red car", "a crimson automobile")] * 2
    errors = wordings.measure(Knowing(), samples, seed=0)
    expected = torch.tensor([0, 0.01, 0, 0.01]).expand(len(wordings.FRACTIONS), -1)
    torch.testing.assert_close(errors, expected, rtol=1e-3, atol=1e-5)  # float32, noise cancelled at alpha 0.2
