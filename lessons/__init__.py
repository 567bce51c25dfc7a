"""Lessons on deep learning with tables that run here and check themselves.

A lesson is a folder: `lesson.toml` with its place and its seconds, its text in English (`en.md`)
and Chinese (`zh.md`), `lesson.py` with a function `run(lab) -> Outcome`, and its data, if it has
any. See docs/lessons.md.
"""
