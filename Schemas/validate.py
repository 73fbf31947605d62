#!/usr/bin/env python3
"""Checks JSON documents against a JSON Schema (draft 2020-12).

usage: validate.py SCHEMA DOCUMENT...

Prints one line a problem, DOCUMENT: JSONPATH: MESSAGE, and exits with 1 if there is any. Needs the Debian package
python3-jsonschema.
"""
import json
import sys

import jsonschema


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    failed = False
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        for error in validator.iter_errors(document):
            failed = True
            print(f"{path}: {error.json_path}: {error.message[:500]}")
    sys.exit(1 if failed else 0)


main()
