import Configuration
import Foundation
import TestSupport
import Testing

/// Values are what was written, and what cannot be meant is said with its key, its line, what was found and what is wanted.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ConfigurationValueTests {
    /// YAML's own rules make dates, numbers and truth values of these.
    @Test(arguments: [
        "1.10", "007", "2026-11-29", "2026-11-29T10:00:00Z", "20:30", "1e3", "no", "yes", "off", "true", "0x10",
        "1_000",
        "+5", ".inf", "a b", "v1.0~", "run#1", "=", "<<", "a:b", "x~y", "0o17", "null-1",
    ])
    func textIsTakenAsItIsWritten(text: String) throws {
        #expect(try RunConfiguration(yaml: "output: \(text)\ndata: {path: \"\(text)\"}").output == text)
        #expect(try RunConfiguration(yaml: "output: '\(text)'").output == text)
        #expect(try RunConfiguration(yaml: "evaluation:\n  sets:\n  - \(text)").evaluation.sets == [text])
        let set = try RunConfiguration(yaml: "", settings: ["output=\(text)", "data.path=\"\(text)\""])
        #expect(set.output == text && set.data.path == text)
        let stored = try RunConfiguration(stored: set.decided(like: nil).canonicalText)
        #expect(stored.output == text && stored.data.path == text)
    }

    /// A shell has dealt with these already.
    @Test func settingsAreNotYAML() throws {
        let configuration = try RunConfiguration(
            yaml: "", settings: ["output=a #1", "data.path=[x]: {y", "data.fingerprint=", "head.scale= 32 "])
        #expect(configuration.output == "a #1" && configuration.data.path == "[x]: {y")
        #expect(configuration.data.fingerprint.isEmpty && configuration.head.scale == 32)
    }

    @Test(arguments: ["", "~", "null", "Null", "NULL", "# nothing"]) func aMissingValueIsNone(text: String) throws {
        // What the key has without it is empty too, or a section has nothing in it.
        let configuration = try RunConfiguration(
            yaml: """
                data:
                  fingerprint: \(text)
                head:
                  initial: \(text)
                evaluation:
                  sets: \(text)
                checkpoint:
                  directory: \(text)
                optimizer: \(text)
                """)
        #expect(configuration == RunConfiguration())
        for (yaml, key, initial) in [
            ("output: \(text)\n", "output", "run"), ("schedule:\n  steps: \(text)\n", "schedule.steps", "0"),
            ("data:\n  flip: \(text)\n", "data.flip", "false"),
            ("head:\n  exchange: \(text)\n", "head.exchange", "auto"),
        ] {
            let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: yaml, name: "r.yaml") }
            #expect(error?.key == key && error?.problem.contains("has no value") == true)
            #expect(error?.problem.hasSuffix(initial) == true, "\(error?.problem ?? "")")
            #expect(error?.place == (key == "output" ? "r.yaml:1" : "r.yaml:2"))
        }
        guard !text.hasPrefix("#") else { return }
        let error = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "", settings: ["output=\(text)"])
        }
        #expect(error?.place == "--set output=\(text)" && error?.key == "output")
    }

    @Test func theHomeDirectoryIsThatOfThisUser() throws {
        let home = try #require(ProcessInfo.processInfo.environment["HOME"])
        let configuration = try RunConfiguration(
            yaml: "output: ~/runs/1\ndata: {path: '~'}\nevaluation: {sets: [~/a.bin, b~.bin]}",
            settings: ["head.initial=~/c.safetensors"])
        #expect(configuration.output == home + "/runs/1" && configuration.data.path == home)
        #expect(configuration.evaluation.sets == [home + "/a.bin", "b~.bin"])
        #expect(configuration.head.initial == home + "/c.safetensors")
        #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: "output: ~somebody/runs") }
        // What is stored was read by the user whose home it was.
        #expect(try RunConfiguration(stored: #"{"output":"~/runs"}"#).output == "~/runs")
    }

    @Test(arguments: [
        ("20", 20), ("1e5", 100_000), ("1E+3", 1000), ("1.5e3", 1500), ("1_000_000", 1_000_000), ("100.0", 100),
        ("+7", 7),
        ("0", 0), ("-0", 0), ("12300e-2", 123), ("'8'", 8), ("0e999999", 0),
    ])
    func countsAreExact(text: String, count: Int) throws {
        #expect(try RunConfiguration(yaml: "schedule: {steps: \(text)}").schedule.steps == count)
    }

    @Test(arguments: [
        ("schedule: {steps: 100.5}", "schedule.steps", "100.5", "not whole"),
        ("schedule: {steps: 1e-1}", "schedule.steps", "1e-1", "not whole"),
        ("schedule: {steps: 1e19}", "schedule.steps", "1e19", "beyond"),
        ("schedule: {steps: 99999999999999999999}", "schedule.steps", "9999", "beyond"),
        ("schedule: {steps: 1e9999999}", "schedule.steps", "1e9999999", "exponent"),
        ("schedule: {steps: 010}", "schedule.steps", "010", "write 10"),
        ("schedule: {steps: 0x10}", "schedule.steps", "0x10", "write 16"),
        ("schedule: {steps: 0o10}", "schedule.steps", "0o10", "write 8"),
        ("schedule: {steps: 1__0}", "schedule.steps", "1__0", "whole number"),
        ("schedule: {steps: 1:30}", "schedule.steps", "1:30", "base 60"),
        ("schedule: {steps: '1,000'}", "schedule.steps", "1,000", "commas"),
        ("schedule: {steps: true}", "schedule.steps", "true", "whole number"),
        ("schedule: {steps: ''}", "schedule.steps", "an empty text", "whole number"),
        ("schedule: {steps: [1]}", "schedule.steps", "a list", "whole number"),
        ("schedule: {warmup: .inf}", "schedule.warmup", ".inf", "finite"),
        ("schedule: {warmup: NaN}", "schedule.warmup", "NaN", "finite"),
        ("schedule: {warmup: 1e999}", "schedule.warmup", "1e999", "large"),
        ("schedule: {warmup: 1e-999}", "schedule.warmup", "1e-999", "small"),
        ("schedule: {learning_rate: 1e39}", "schedule.learning_rate", "1e39", "large"),
        ("schedule: {warmup: 5%}", "schedule.warmup", "5%", "fraction"),
        ("schedule: {warmup: 0,5}", "schedule.5", "known", ""),
        ("seed: -1", "seed", "-1", "whole number from 0"),
        ("seed: 18446744073709551615", "seed", "1844", "beyond"),
        ("data: {flip: 1}", "data.flip", "1", "true or false"),
        ("output: {run: 1}", "output", "mapping", "path"),
        ("output: [a]", "output", "list", "path"),
        ("output: ''", "output", "empty", "directory"),
        ("output: |\n  a\n  b\n", "output", "control character", "path"),
        ("output: !env HOME", "output", "!env", ""),
        ("data: !include data.yaml", "data", "!include", ""),
        ("evaluation: {sets: a.bin}", "evaluation.sets", "a.bin", "list such as [a, b]"),
        ("evaluation: {sets: [a.bin, [b]]}", "evaluation.sets[1]", "list", "path"),
        ("evaluation: {sets: [a.bin, ]}\nbackbone: {depths: [1, x]}", "backbone.depths[1]", "x", "whole number"),
        ("backbone: {depths: [1, ~]}", "backbone.depths[1]", "no value", ""),
        ("head: 64", "head", "64", "mapping"),
        ("head: [a]", "head", "list", "mapping"),
    ])
    func whatDoesNotFitIsNamed(yaml: String, key: String, found: String, wanted: String) {
        let error = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "# \n" + yaml, name: "r.yaml")
        }
        #expect(error?.key == key)
        let problem = error?.problem ?? ""
        #expect(problem.contains(found) && (wanted.isEmpty || problem.contains(wanted)), "\(problem)")
        let line = yaml.hasPrefix("evaluation: {sets: [a.bin, ]}") ? 3 : 2
        #expect(error?.place == "r.yaml:\(line)")
        #expect("\(error.map { "\($0)" } ?? "")".hasPrefix("r.yaml:\(line): \(key): "))
    }

    /// What fits the key and not its range has a place as well.
    @Test func rangesNameThePlace() {
        let file = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "seed: 1\n\nhead:\n  slices: 12\n", name: "r.yaml")
        }
        #expect(file?.place == "r.yaml:4" && file?.key == "head.slices")
        let setting = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "head: {slices: 8}", settings: ["head.slices=12"])
        }
        #expect(setting?.place == "--set head.slices=12")
        let variable = #expect(throws: ConfigurationError.self) {
            try RunConfiguration(yaml: "head: {slices: 8}", environment: ["head.slices=12"])
        }
        #expect(variable?.place == "PARTIALFC_SET head.slices=12")
    }

    @Test func settingsCountBeforeTheEnvironment() throws {
        let configuration = try RunConfiguration(
            yaml: "seed: 1\nbatch: {size: 64}", settings: ["seed=3"], environment: ["seed=2", "batch.micro_batch=8"])
        #expect(configuration.seed == 3 && configuration.batch.size == 64 && configuration.batch.microBatch == 8)
    }

    @Test(arguments: ["seed", "=3", "head.=3", ".seed=3", "head..scale=3", "seed =3", "head.scale.x=3", "head=3", ""])
    func settingsThatAreNoneAreSaid(setting: String) {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: "", settings: [setting]) }
        #expect(error?.place == "--set \(setting)")
        #expect(error?.problem.isEmpty == false)
    }

    @Test(arguments: [
        ("head: {sample_rat: 1}", "head.sample_rate"), ("head: {sampleRate: 1}", "head.sample_rate"),
        ("Head: {scale: 1}", "head"), ("steps: 5", "schedule.steps"), ("schedule: {lr: 1, learning_rte: 1}", nil),
        ("schedule: {learning_rte: 1}", "schedule.learning_rate"), ("head: {steps: 1}", "schedule.steps"),
        ("schedle: {steps: 5}", "schedule"), ("batch: {micro-batch: 8}", "batch.micro_batch"), ("x: 1", nil),
        ("OUTPUT: x", "output"), ("checkpoint: {path: a}", "data.path"),
    ])
    func theNearestKeyIsNamed(yaml: String, meant: String?) {
        let error = #expect(throws: ConfigurationError.self) { try RunConfiguration(yaml: yaml) }
        let problem = error?.problem ?? ""
        #expect(problem.contains("is not a known key"))
        #expect(problem.contains("known here: "))
        if let meant {
            #expect(problem.contains("did you mean \(meant)?"), "\(problem)")
        } else {
            #expect(!problem.contains("did you mean"), "\(problem)")
        }
    }
}
