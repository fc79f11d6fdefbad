"""What came out of a run, in plain words that follow from what CLIP sees in the pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby


def listed(words: Sequence[str]) -> str:
    """Join words: `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def along(labels: Sequence[str]) -> str:
    """The labels of a row of pictures in their order, each stretch once: `first a heart, then an apple`."""
    stretches = [label for label, _ in groupby(labels)]
    return stretches[0] if len(stretches) == 1 else f"first {', then '.join(stretches)}"


def led(labels: Sequence[str]) -> str:
    """What a row of pictures turns into, as the end of a sentence: `goes from a heart to an apple`."""
    first, last, seen = labels[0], labels[-1], list(dict.fromkeys(labels))
    if len(seen) == 1:
        return f"stays {first}"
    return f"goes from {first} to {last}" if first != last else f"goes from {first} to {seen[1]} and back"


def moved(moves: Sequence[tuple[str, float, str]], labels: Sequence[str]) -> str:
    """The directions of some moves, each with its distance and what it leads to, and what CLIP saw before and after."""
    if not moves:
        return f"All sliders are at 0: move some of them. CLIP sees {labels[0]}."
    parts = [f"the {name} by {distance:+g} (towards {towards})" for name, distance, towards in moves]
    seen = (
        f"CLIP still sees {labels[0]}." if len(set(labels)) == 1 else f"CLIP saw {labels[0]} and now sees {labels[-1]}."
    )
    return f"You moved {listed(parts)}. {seen}"


def exchanged(count: int, pairs: Sequence[tuple[str, str]]) -> str:
    """What CLIP sees in each picture after an exchange of features, and saw before: (before, after)."""
    told = [f"{after} in place of {before}" if after != before else f"still {before}" for before, after in pairs]
    return f"With {count} feature{'s' * (count > 1)} exchanged, CLIP sees {listed(told)}."


def reconstructed(original: str, both: str, alone: str, psnr: float, psnr_alone: float) -> str:
    """The labels of the three pictures, and the errors of two from their PSNR: RMS error / range = 10^(-PSNR / 20)."""
    errors = [f"{10 ** (-value / 20):.0%}" for value in (psnr, psnr_alone)]
    return (
        f"From both halves the picture comes back with an average error of {errors[0]}, from CLIP's half alone with "
        f"{errors[1]}. CLIP sees {original} in the original, {both} in the picture from both halves, and {alone} in "
        "the one from its half alone."
    )


def varied(original: str, labels: Sequence[str], share: float) -> str:
    """The label of the picture, and those of the variations with that share of new noise."""
    same, count = sum(label == original for label in labels), len(labels)
    others = [label for label in dict.fromkeys(labels) if label != original]
    rest = f" In the others it sees {listed(others)}." if same else f" There it sees {listed(others)}."
    variations = f"{same} of the {count} variation{'s' * (count > 1)} with {share:.0%} new noise"
    return f"CLIP sees {original} in the picture, and in {variations}.{rest if others else ''}"


def turned(labels: Sequence[str], share: float) -> str:
    """The first and the last label of a text diff that ends at a share of the way."""
    first, last = labels[0], labels[-1]
    if first == last:
        return f"CLIP still sees {first} at {share:.0%} of the way to the new caption."
    return f"CLIP sees {first} at the start and {last} at {share:.0%} of the way to the new caption."


def truncated(original: str, labels: Sequence[str], dims: Sequence[int]) -> str:
    """From how many components on every picture has the label of the original."""
    enough = next((k for k in range(len(labels)) if all(label == original for label in labels[k:])), None)
    if enough is None:
        return f"CLIP sees {original} in the original, but {labels[-1]} in the picture from all {dims[-1]} components."
    sentence = f"With {dims[enough]} or more components CLIP sees {original}, as in the original."
    return sentence if not enough else f"{sentence} With {dims[enough - 1]} it sees {labels[enough - 1]}."


def attacked(clean: str, labelled: str, truth: str, drawn: Sequence[str]) -> str:
    """The labels of the clean picture, of the one with the word, and of what is drawn from the latter's embedding."""
    if clean == labelled:
        sentence = f"The word does not change CLIP's answer: it says “{clean}” with the label, too."
    else:
        sentence = f"With the label on the picture CLIP says “{labelled}”, without it “{clean}”."
    if not drawn:
        return sentence
    count = len(drawn)
    whole = f"{sum(label == truth for label in drawn)} of the {count} picture{'s' * (count > 1)}"
    return f"{sentence} It says “{truth}” about {whole} drawn from what it saw with the label."


def drawn(prompt: str, shares: dict[str, float]) -> str:
    """How often each network recognises the prompt's thing in views of a drawing: network -> share of the views."""
    if not shares:
        return f"This is what CLIP drew for “{prompt}”."
    judges = {"judge": "A network that took no part in the drawing"}
    seen = [f"{judges.get(name, 'CLIP itself')} recognises it in {share:.0%}" for name, share in shares.items()]
    return f"This is what CLIP drew for “{prompt}”, seen in random views. {'. '.join(seen)} of them."


def decoded(labels: Sequence[str]) -> str:
    """The labels of pictures that were decoded at places of the map."""
    if len(labels) == 1:
        return f"CLIP sees {labels[0]} in the picture that was decoded at this place."
    return f"Along the line CLIP sees {along(labels)}."


def edited(prompt: str, count: int, recognised: float | None, *, masked: bool = False, kept: bool = False) -> str:
    """How many edits there are, and the share of them in whose painted part CLIP recognises the prompt's thing.

    Args:
        masked: a part was painted over. kept: a part of the picture lies outside what was painted.
    """
    sentence = f"{count} edit{'s' * (count > 1)} {f'to “{prompt}”' if prompt else 'without a prompt'}."
    if masked and not prompt:
        sentence += " What you painted over is filled from what surrounds it."
    part = "the painted part" if masked or kept else "the picture"
    if recognised is not None and count == 1:
        sentence += f" CLIP {'recognises' if recognised else 'does not recognise'} the prompt's thing in {part}."
    elif recognised is not None:
        sentence += f" CLIP recognises the prompt's thing in {round(recognised * count)} of them."
    return f"{sentence} The rest of the picture is exactly as it was." if kept else sentence


def names_thing(prompt: str, label: str) -> bool:
    """Whether the thing of CLIP's label is one of the prompt's: `a castle` of `a castle on green`."""
    thing = label.partition(" ")[2] or label
    return re.search(rf"\b{re.escape(thing.lower())}(s|es)?\b", prompt.lower()) is not None


def recognised(hits: dict[str, int], count: int) -> str:
    """In how many of `count` pictures of each row CLIP recognises what the prompt asks for: row -> pictures."""
    rows = [f"{number} ({name})" for name, number in hits.items()]
    if count == 1:
        seen = [name for name, number in hits.items() if number]
        return f"CLIP recognises the prompt's thing with {listed(seen)}." if seen else "CLIP recognises it in no row."
    return f"Of the {count} pictures in each row CLIP recognises the prompt's thing in {listed(rows)}."


def ranked(prompt: str, shown: int, drawn: int, *, by: str = "The model", continued: bool = False) -> str:
    """How many pictures were drawn, and how many of them are shown first, because CLIP prefers them."""
    best = f"the best {shown} come first" if shown > 1 else "the best one comes first"
    if continued:
        first = f"{by} kept the upper half of the picture and drew the lower half "
        first += f"{drawn} times, for “{prompt}”." if drawn > 1 else f"for “{prompt}”."
        return first if drawn == 1 else f"{first} CLIP ranked the results, and {best}."
    if drawn == shown:
        order = ", the one that fits the prompt best for CLIP first" if drawn > 1 else ""
        return f"{drawn} picture{'s' * (drawn > 1)} of “{prompt}”{order}."
    return f"{by} drew {drawn} pictures of “{prompt}”. CLIP ranked them, and {best}."


def reranked(shares: dict[str, dict[str, tuple[float, float]]], most: int, prompts: int) -> str:
    """What a choice buys: system -> who names the pictures -> the share named right, of one and of the best of most."""
    others = {"the judge's accuracy": "a network that took no part in the choice"}
    told = []
    for system, rows in shares.items():
        seen = [f"from {one:.0%} to {best:.0%} with {others.get(name, 'CLIP')}" for name, (one, best) in rows.items()]
        told.append(f"the share that is named right goes {listed(seen)}, by {system}")
    return f"From single pictures of {prompts} prompts to the best of {most}, {'; '.join(told)}."


def road(names: Sequence[str], scores: Sequence[float], seconds: Sequence[float], prompts: int) -> str:
    """Which system's picture CLIP finds nearest to the prompt, and which system was the fastest."""
    best, fast = (max(range(len(names)), key=key) for key in (lambda k: scores[k], lambda k: -seconds[k]))
    average = "on average, " if prompts > 1 else ""
    nearest = f"For CLIP {average}the picture by {names[best]} fits the prompt best."
    least = f"{seconds[fast]:.1f} s"
    equal = sum(f"{taken:.1f} s" == least for taken in seconds)
    fastest = f"{names[fast]} is the fastest" if equal == 1 else f"{equal} systems share the shortest time"
    return f"{nearest} {fastest}, with {least} for a picture."
