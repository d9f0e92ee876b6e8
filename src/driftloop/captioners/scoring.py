"""The same models asked the other way round: not what they say, but how probable they find given answers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftloop.captioners.vision_language import TransformersCaptioner
from driftloop.core.weights import ModelError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class TransformersScorer(TransformersCaptioner):
    """Scores answers by teacher forcing, with any checkpoint that has a chat template.

    How an answer follows a question (spaces, line breaks) is what the checkpoint's own template says. All answers to one
    question about one picture are a batch of their own, so no score depends on what else is asked.
    """

    def score(self, image: Image, question: str, answers: Sequence[str]) -> list[float]:
        """log P(answer | image, question) of each: the sum over the answer's tokens, what may follow it not counted."""
        import torch

        inputs, lengths = self._answered(image, question, answers)
        with torch.inference_mode():
            logits = self._network(**inputs, **self._kept(max(lengths))).logits
        return [_sum_of(*row) for row in zip(logits, inputs["input_ids"], lengths, strict=True)]

    def _answered(self, image: Image, question: str, answers: Sequence[str]) -> tuple[Any, list[int]]:
        """Model inputs, one row an answer and padded on the left, and how many tokens each answer has."""
        if not self._chats:
            raise ModelError(f'"{self.model}" has no chat template, so it cannot be asked to choose')
        asked = self._templated([self._chat(image, question)], add_generation_prompt=True)
        inputs = self._templated([self._chat(image, question, answer) for answer in answers], continue_final_message=True)
        opening = asked["input_ids"][0].tolist()
        rows = [row[mask.bool()].tolist() for row, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
        self._check(rows, opening, answers)
        return inputs.to(device=self._network.device, dtype=self._network.dtype), [len(row) - len(opening) for row in rows]

    def _check(self, rows: Sequence[list[int]], opening: list[int], answers: Sequence[str]) -> None:
        """Each answer begins where the question ends, and none is the beginning of another: both would share its mass."""
        tails = [row[len(opening) :] for row in rows]
        if not all(tails) or any(row[: len(opening)] != opening for row in rows):
            raise ModelError(f'the tokens of "{self.model}" do not part between question and answer: {", ".join(answers)}')
        for answer, tail in zip(answers, tails, strict=True):
            if sum(other[: len(tail)] == tail for other in tails) > 1:
                raise ModelError(
                    f'to "{self.model}" the answer "{answer}" begins another of {", ".join(answers)}; word them apart'
                )

    def _templated(self, chats: list[Any], **how: Any) -> Any:
        return self._processor.apply_chat_template(
            chats, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}, **how
        )

    def _chat(self, image: Image, question: str, answer: str | None = None) -> list[dict[str, Any]]:
        asked = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}
        return [asked] if answer is None else [asked, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]

    def _kept(self, length: int) -> dict[str, int]:
        """Only the last logits are needed: whole, they are rows × thousands of positions × the vocabulary."""
        able = "logits_to_keep" in inspect.signature(self._network.forward).parameters
        return {"logits_to_keep": length + 1} if able else {}


def _sum_of(logits: torch.Tensor, tokens: torch.Tensor, length: int) -> float:
    """Sum of log-probabilities of the last `length` tokens; logits [positions, vocabulary] may be of the last ones only."""
    before = logits[-length - 1 : -1].double().log_softmax(-1)
    return float(before.gather(1, tokens[-length:, None]).sum())
