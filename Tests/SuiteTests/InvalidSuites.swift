extension SuiteExample {
    static let invalid: [SuiteExample] = [
        SuiteExample("no object", "[1]", ["1:1: $: an array where a suite, an object, is expected"]),
        SuiteExample(
            "nothing in it", "{}",
            [
                #"1:1: $: "name" is missing; add a short name, "name": "quick""#,
                #"1:1: $: "workloads" is missing; add what to run, "workloads": [{"name": "null-syscall"}]"#,
            ]),
        SuiteExample(
            "no workloads", #"{"name": "s", "workloads": []}"#,
            [#"1:28: $.workloads: no workloads; add one, {"name": "null-syscall"}"#]),
        SuiteExample(
            "misspelt keys",
            "{\"name\": \"s\", \"sed\": 1,\n\"workloads\": [{\"name\": \"compute\", \"trails\": 3, \"zzz\": 1}]}",
            [
                #"1:15: $.sed: unknown key "sed"; did you mean "seed"?"#,
                #"2:35: $.workloads[0].trails: unknown key "trails"; did you mean "trials"?"#,
                #"2:48: $.workloads[0].zzz: unknown key "zzz"; possible: name, description, program, arguments, environment, "#
                    + "workingDirectory, files, stdin, expected, trials, memory, timeLimit, cpu, backends, variants",
            ]),
        SuiteExample(
            "duplicate key", "{\"name\": \"s\",\n\"name\": \"t\", \"workloads\": [{\"name\": \"compute\"}]}",
            [#"2:1: $.name: the key "name" is there twice; remove it here or in line 1"#], schemaSees: false),
        SuiteExample(
            "duplicate workloads", #"{"name": "s", "workloads": [{"name": "compute"}, {"name": "compute"}]}"#,
            [#"1:50: $.workloads[1]: the workload "compute" is there twice; the first is $.workloads[0] in line 1"#],
            schemaSees: false),
        SuiteExample(
            "bad suite values",
            """
            {"name": "a/b", "seed": -1, "trials": 0, "warmup": "detct", "backends": ["kvmm", "native", "native"],
            "defaults": {"memory": 5000000000000, "timeLimit": 0, "cpu": -1}, "workloads": [{"name": "compute"}]}
            """,
            [
                #"1:10: $.name: "a/b" is not a name; up to 64 letters, digits, ".", "_" and "-", a letter or digit first"#,
                "1:25: $.seed: -1 is out of range; a seed is from 0 to 9007199254740991",
                "1:39: $.trials: 0 is too small; a number of trials is from 1 to 10000",
                #"1:52: $.warmup: unknown warm-up policy "detct"; did you mean "detect"?"#,
                #"1:74: $.backends[0]: unknown backend "kvmm"; did you mean "kvm"?"#,
                #"1:92: $.backends[2]: the backend "native" is there twice; the first is $.backends[1] in line 1"#,
                "2:24: $.defaults.memory: too large; possible: from 16MiB to 1TiB",
                "2:52: $.defaults.timeLimit: too short; possible: from 0.001 to 86400.0 seconds",
                "2:62: $.defaults.cpu: -1 is too small; a CPU number is from 0 to 8191",
            ]),
        SuiteExample(
            "wrong types",
            """
            {"name": 1, "description": [], "seed": "1", "trials": 1.5, "warmup": {"discard": true}, "backends": "kvm",
            "defaults": null, "workloads": {}, "colocation": "x"}
            """,
            [
                "1:10: $.name: a number where a name is expected",
                "1:28: $.description: an array where a string is expected",
                "1:40: $.seed: a string where a seed is expected; write 1 without quotes",
                "1:55: $.trials: 1.5 is not a whole number; a number of trials is from 1 to 10000",
                "1:82: $.warmup.discard: a boolean where a number of rounds is expected",
                "1:101: $.backends: a string where a list of backends is expected",
                "2:13: $.defaults: null where an object is expected; leave the key out for its default",
                "2:32: $.workloads: an object where a list of workloads is expected",
                "2:50: $.colocation: a string where a list of co-locations is expected",
            ]),
        .workload(
            "no number of trials that large", "\"trials\": 99999999999999999999",
            ["2:11: $.workloads[0].trials: 99999999999999999999 is out of range; a number of trials is from 1 to 10000"]
        ),
        .workload(
            "memory not whole pages", "\"memory\": 20000000",
            ["2:11: $.workloads[0].memory: 20000000 bytes are not whole pages of 4096; write 20000768"]),
        .workload(
            "memory text that is no size", "\"memory\": \"128MB\"",
            [
                #"2:11: $.workloads[0].memory: "128MB" is not a size; write bytes as a number, or a string such as "128MiB""#
            ]),
        .workload(
            "too little memory", "\"memory\": \"1MiB\"",
            ["2:11: $.workloads[0].memory: too small; possible: from 16MiB to 1TiB"], schemaSees: false),
        .workload(
            "negative memory", "\"memory\": -4096",
            ["2:11: $.workloads[0].memory: a negative size; possible: from 16MiB to 1TiB"]),
        .workload(
            "duration without a unit", "\"timeLimit\": \"5\"",
            [
                #"2:14: $.workloads[0].timeLimit: "5" is not a duration; write seconds as a number, or a string such as "500ms""#
            ]),
        .workload(
            "negative duration", "\"timeLimit\": -1",
            ["2:14: $.workloads[0].timeLimit: a negative duration; possible: from 0.001 to 86400.0 seconds"]),
        .workload(
            "unknown program", "\"program\": \"conpute\"",
            [#"2:12: $.workloads[0].program: unknown program "conpute"; did you mean "compute"?"#], schemaSees: false),
        .workload(
            "program as a path", "\"program\": \"/bin/busybox\"",
            [
                #"2:12: $.workloads[0].program: "/bin/busybox" is no built-in program; a file of the host is written {"host": "#
                    + #""/bin/busybox"}"#
            ]),
        SuiteExample(
            "no program of the workload's name", #"{"name": "s", "workloads": [{"name": "sort"}]}"#,
            [
                #"1:29: $.workloads[0]: "program" is missing, and "sort" is no built-in program; add "program": one of "#
                    + #"compute, null-syscall, spin, or {"host": "/bin/busybox"}"#
            ], schemaSees: false),
        .workload(
            "arguments that no program can receive", "\"arguments\": [true, \"a\\u0000b\", [\"x\"]]",
            [
                "2:15: $.workloads[0].arguments[0]: a boolean where a string or a number is expected",
                "2:21: $.workloads[0].arguments[1]: a NUL character, which no program can receive; remove the \\u0000",
                "2:33: $.workloads[0].arguments[2]: an array where a string or a number is expected",
            ]),
        .workload(
            "environment", "\"environment\": {\"A=B\": \"\", \"OK\": null}",
            [
                #"2:24: $.workloads[0].environment['A=B']: "A=B" is not a variable's name"#,
                "2:34: $.workloads[0].environment.OK: null where a string or a number is expected; leave the key out for its default",
            ]),
        .workload(
            "guest paths",
            "\"workingDirectory\": \"data\", \"files\": [{\"text\": \"\", \"guestPath\": \"/a/../b\"},\n"
                + "{\"text\": \"\", \"guestPath\": \"/dev/x\"}, {\"text\": \"\"}]",
            [
                #"2:21: $.workloads[0].workingDirectory: "data" is not a path in the guest; write it as an absolute path, "/data/input""#,
                #"2:65: $.workloads[0].files[0].guestPath: "/a/../b" is not a path in the guest; write it as an absolute path, "#
                    + #""/data/input""#,
                #"3:27: $.workloads[0].files[1].guestPath: "/dev" belongs to the guest kernel; put the file elsewhere, "/data/input""#,
                #"3:38: $.workloads[0].files[2]: "guestPath" is missing; add where it goes, "guestPath": "/data/input""#,
            ]),
        .workload(
            "one guest path twice",
            "\"files\": [{\"text\": \"\", \"guestPath\": \"/a\"}, {\"host\": \"x\", \"guestPath\": \"/a\"}]",
            [
                #"2:44: $.workloads[0].files[1]: the guest path "/a" is there twice; the first is $.workloads[0].files[0] in line 2"#
            ], schemaSees: false),
        .workload(
            "content from nowhere and from two places",
            "\"files\": [{\"guestPath\": \"/a\"}, {\"text\": \"\", \"host\": \"x\", \"guestPath\": \"/b\"}]",
            [
                #"2:11: $.workloads[0].files[0]: where the bytes come from is missing; write one of "host": path, "text": text, "#
                    + #""generate": {…}"#,
                #"2:32: $.workloads[0].files[1]: the bytes come from "host" and "text" at once; write one of "host": path, "#
                    + #""text": text, "generate": {…}"#,
            ]),
        .workload(
            "generated files", "\"stdin\": {\"generate\": {\"kind\": \"texts\", \"bytes\": -5, \"seed\": 0.5}}",
            [
                #"2:32: $.workloads[0].stdin.generate.kind: unknown kind of file "texts"; did you mean "text"?"#,
                "2:50: $.workloads[0].stdin.generate.bytes: a negative size; possible: from 0B to 16GiB",
                "2:62: $.workloads[0].stdin.generate.seed: 0.5 is not a whole number; a seed is from 0 to 9007199254740991",
            ]),
        .workload(
            "files larger than memory",
            "\"files\": [{\"generate\": {\"kind\": \"zeros\", \"bytes\": \"1GiB\"}, \"guestPath\": \"/a\"}]",
            [
                #"2:10: $.workloads[0].files: files of 1073741824 bytes do not fit into 128MiB of memory; add "memory": "#
                    + #""2112MiB", or make them smaller"#
            ], schemaSees: false),
        .workload(
            "expectations", "\"expected\": {\"exitCode\": 256, \"outputMatchesNative\": 1, \"sha256\": \"abc\"}",
            [
                "2:26: $.workloads[0].expected.exitCode: 256 is too large; an exit code is from 0 to 255",
                "2:54: $.workloads[0].expected.outputMatchesNative: a number where true or false is expected",
                "2:67: $.workloads[0].expected.sha256: not a SHA-256 digest; 64 hexadecimal digits, as sha256sum prints them",
            ]),
        .workload(
            "nothing to match", "\"backends\": [\"kvm\"], \"expected\": {\"outputMatchesNative\": true}",
            [
                #"2:58: $.workloads[0].expected.outputMatchesNative: there is no native output to compare with; add "native" to "#
                    + #"the backends, or use "sha256""#
            ], schemaSees: false),
        SuiteExample(
            "a backend that the suite does not have",
            #"{"name": "s", "backends": ["native"], "workloads": [{"name": "compute", "backends": ["native", "kvm"]}]}"#,
            [
                #"1:85: $.workloads[0].backends: "kvm" is not among the backends of the suite; add it there or remove it here"#
            ], schemaSees: false),
        SuiteExample(
            "no backends", #"{"name": "s", "backends": [], "workloads": [{"name": "compute"}]}"#,
            [
                "1:27: $.backends: the list is empty; leave the key out, or name some: native, kvm, software, "
                    + "qemu-tcg, qemu-kvm"
            ]),
        .workload(
            "variants",
            "\"variants\": [{\"name\": \"a\"}, {\"name\": \"a\", \"options\": {\"x\": []}}, {\"options\": {}}]",
            [
                #"2:29: $.workloads[0].variants[1]: the variant "a" is there twice; the first is $.workloads[0].variants[0] in line 2"#,
                "2:60: $.workloads[0].variants[1].options.x: an array where an option's value is expected",
                #"2:66: $.workloads[0].variants[2]: "name" is missing; add a name, "name": "small-cache""#,
            ]),
        SuiteExample(
            "co-location",
            """
            {"name": "s", "workloads": [{"name": "compute"}, {"name": "native-only", "program": "spin", "backends": ["native"]}],
            "aggressors": [{"name": "spin"}],
            "colocation": [
            {"name": "c", "victim": "spin", "aggressor": "spni", "placements": ["same-cpus"]},
            {"name": "c", "victim": "compute", "aggressor": "native-only", "backends": ["kvm"], "trials": 0},
            {}]}
            """,
            [
                #"4:25: $.colocation[0].victim: unknown workload "spin"; possible: compute, native-only"#,
                #"4:46: $.colocation[0].aggressor: unknown workload "spni"; did you mean "spin"?"#,
                #"4:69: $.colocation[0].placements[0]: unknown placement "same-cpus"; did you mean "same-cpu"?"#,
                #"5:76: $.colocation[1].backends: the workload "native-only" does not run on "kvm"; remove it here"#,
                "5:95: $.colocation[1].trials: 0 is too small; a number of trials is from 1 to 10000",
                #"6:1: $.colocation[2]: "name" is missing; add a name, "name": "noisy-neighbour""#,
                #"6:1: $.colocation[2]: "victim" is missing; add the name of a workload"#,
                #"6:1: $.colocation[2]: "aggressor" is missing; add the name of a workload"#,
            ]),
    ]
}
