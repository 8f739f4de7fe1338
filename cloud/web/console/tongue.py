"""Texts in the language of whoever looks at the page."""


def t(text: str, **values: object) -> str:
    """Return a text in the reader's language, with its values filled in.

    Args:
        text: in English, as it stands in the catalogue; ``{name}`` stands for a value.
        values: by name.
    """
    return text.format(**values) if values else text
