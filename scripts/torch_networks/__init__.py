"""The networks in plain torch, written in the style of their originals: the yardstick of ``bench.py``.

Attention is spelled out over whole [head, token, token] arrays; queries, keys and values come from one product; tokens
are rearranged as the papers' code does it. Every network is made from our parameters by their names and the fields of
our config, and maps named inputs to named results:

    video [1, colour, time, height, width], query [1, 1, time, height, width], text [text, token],
    text_features [text, embed]  ->  the fields of our ``Output``, in its layouts
"""
