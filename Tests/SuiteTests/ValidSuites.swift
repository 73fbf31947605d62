extension SuiteExample {
    static let valid = [
        SuiteExample("the smallest", #"{"name": "s", "workloads": [{"name": "compute"}]}"#),
        SuiteExample(
            "everything",
            """
            {
              "$schema": "suite.schema.json",
              "name": "all", "description": "Everything at once", "seed": 7, "trials": 9,
              "warmup": {"discard": 2},
              "backends": ["software", "native"],
              "defaults": {"memory": "64MiB", "timeLimit": "500ms", "cpu": 1},
              "variants": [
                {"name": "plain"},
                {"name": "small", "backends": ["software"], "options": {"codeCacheBytes": 1048576, "chain": false, "x": "y"}}
              ],
              "workloads": [
                {
                  "name": "sort", "description": "d", "program": {"host": "/bin/busybox"},
                  "arguments": ["sort", "-n", 3, "/data/in"],
                  "environment": {"LANG": "C", "N": 1},
                  "workingDirectory": "/data",
                  "files": [
                    {"generate": {"kind": "numbers", "bytes": "1MiB", "seed": 3}, "guestPath": "/data/in"},
                    {"text": "hello\\u0000", "guestPath": "/data/hello", "executable": true},
                    {"host": "local/file", "guestPath": "/data/file"}
                  ],
                  "stdin": {"generate": {"kind": "text", "bytes": 100}},
                  "expected": {"exitCode": 2, "outputMatchesNative": true},
                  "trials": 3, "memory": 33554432, "timeLimit": 1.5, "cpu": "float",
                  "backends": ["software", "native"], "variants": []
                },
                {"name": "compute", "stdin": "text", "cpu": 0}
              ],
              "aggressors": [{"name": "spin", "arguments": ["--forever"]}],
              "colocation": [
                {
                  "name": "pair", "description": "d", "victim": "compute", "aggressor": "spin",
                  "backends": ["software"], "placements": ["different-cpu"], "trials": 2
                },
                {"name": "itself", "victim": "compute", "aggressor": "compute"}
              ]
            }
            """),
        SuiteExample(
            "warm-up none, CPU auto, whole numbers with a point",
            #"{"name": "s", "warmup": "none", "trials": 3.0, "defaults": {"cpu": "auto"}, "workloads": [{"name": "compute"}]}"#
        ),
    ]
}
