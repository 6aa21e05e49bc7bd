import ClusterHarness
import Foundation
import Tensors
import TestSupport
import Testing

/// Checkpoints to and from files that other programs read. No cluster runs here.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ExportTests {
    private let settings = """
        data: {kind: folder, path: "/nowhere", image_size: 16, channels: 1, classes: 101, samples: 64, fingerprint: x}
        backbone: {name: iresnet-small, embedding_size: 16, widths: [8, 8, 16, 16], dense_slices: 8}
        head: {slices: 8, scale: 16}
        batch: {size: 8, micro_batch: 4}
        schedule: {steps: 12}
        evaluation: {held_out_pairs: 0}
        """

    private func coordinator(_ arguments: String..., code expected: Int32 = 0) throws -> String {
        let (code, text) = try LocalCluster.run("coordinator", arguments)
        #expect(code == expected, "\(arguments): \(text)")
        return text
    }

    /// Every file of slices below `directory`, by name.
    private func slices(_ directory: URL) throws -> [String: Data] {
        let found = FileManager.default.enumerator(at: directory, includingPropertiesForKeys: nil)
        let files = (found?.allObjects as? [URL] ?? []).filter { $0.pathExtension == "safetensors" }
        return try Dictionary(uniqueKeysWithValues: files.map { ($0.lastPathComponent, try Data(contentsOf: $0)) })
    }

    @Test func whatIsExportedIsImportedWithTheSameBits() throws {
        try withDirectory { directory in
            func path(_ name: String) -> String { directory.appending(path: name).path }
            try settings.write(toFile: path("run.yaml"), atomically: true, encoding: .utf8)
            _ = try coordinator("import", "--config", path("run.yaml"), "--output", path("first"))
            #expect(try coordinator("verify", path("first")).contains("0 problems"))
            _ = try coordinator("export", path("files"), "--checkpoint", path("first"), "--momentum")
            let refused = try coordinator("export", path("files"), "--checkpoint", path("first"), code: 66)
            #expect(refused.contains("not empty"))

            // From the files with their index, and from one matrix of other origin.
            _ = try coordinator(
                "import", "--config", path("run.yaml"), "--centers", path("files"), "--momentum", path("files"),
                "--backbone", path("files/backbone.safetensors"), "--output", path("second"))
            let first = try slices(directory.appending(path: "first"))
            #expect(first.count == 16)
            #expect(try slices(directory.appending(path: "second")) == first)
            var rows: [Float] = []
            for slice in 0..<8 {
                let name = "first/slices/slice-0000\(slice).safetensors"
                rows += try SafeTensors(contentsOf: path(name)).tensor("centers", .f32, in: name).array(Float.self)
            }
            #expect(rows.count == 101 * 16)
            try SafeTensors(tensors: ["weight": Tensor(rows, shape: [101, 16])]).write(to: path("head.safetensors"))
            _ = try coordinator(
                "import", "--config", path("run.yaml"), "--centers", path("head.safetensors"), "--output",
                path("third"))
            #expect(try slices(directory.appending(path: "third")) == first)
            let misfit = try coordinator(
                "import", "--config", path("run.yaml"), "--set", "data.classes=100", "--centers",
                path("head.safetensors"), "--output", path("fourth"), code: 66)
            #expect(misfit.contains("101 rows") && misfit.contains("100 classes"), "\(misfit)")

            // A flipped bit is found and named.
            let victim = directory.appending(path: "third/dense/dense-00003.safetensors")
            var bytes = try Data(contentsOf: victim)
            bytes[bytes.count - 5] ^= 1
            try bytes.write(to: victim)
            #expect(try coordinator("verify", path("third"), code: 1).contains("dense-00003"))
        }
    }

    /// What AdamW keeps is exported by name, and begins anew with an imported run.
    @Test func momentsAreExported() throws {
        try withDirectory { directory in
            func path(_ name: String) -> String { directory.appending(path: name).path }
            let text = settings + "\noptimizer: {name: adamw, moments: bf16}"
            try text.write(toFile: path("run.yaml"), atomically: true, encoding: .utf8)
            _ = try coordinator("import", "--config", path("run.yaml"), "--output", path("first"))
            #expect(try coordinator("verify", path("first")).contains("0 problems"))
            _ = try coordinator("export", path("files"), "--checkpoint", path("first"), "--optimizer")
            for (name, width) in [("centers", 16), ("first_moment", 16), ("second_moment", 16), ("age", 1)] {
                let files = try FileManager.default.contentsOfDirectory(atPath: path("files")).filter {
                    $0.hasPrefix(name + "-")
                }
                var count = 0
                for file in files {
                    for tensor in try SafeTensors(contentsOf: path("files/\(file)")).tensors.values {
                        #expect(tensor.dtype == .f32 && tensor.shape[1] == width)
                        count += tensor.shape[0]
                    }
                }
                #expect(count == 101, "\(name) in \(files)")
            }
            #expect(FileManager.default.fileExists(atPath: path("files/backbone-second_moment.safetensors")))
            let refused = try coordinator(
                "import", "--config", path("run.yaml"), "--momentum", path("files"), "--output", path("second"),
                code: 66)
            #expect(refused.contains("AdamW"), "\(refused)")
        }
    }

    /// One file of int8 rows, against plain arithmetic.
    @Test func centersAreExportedInBytes() throws {
        try withDirectory { directory in
            func path(_ name: String) -> String { directory.appending(path: name).path }
            try settings.write(toFile: path("run.yaml"), atomically: true, encoding: .utf8)
            var values: [Float] = []
            for place in 0..<101 * 16 {
                let number = (place * 37 + place / 16) % 89 - 40
                values.append(Float(number) / 3)
            }
            try SafeTensors(tensors: ["centers": Tensor(values, shape: [101, 16])]).write(
                to: path("centers.safetensors"))
            _ = try coordinator(
                "import", "--config", path("run.yaml"), "--centers", path("centers.safetensors"), "--output",
                path("first"))
            _ = try coordinator("export", path("files"), "--checkpoint", path("first"), "--int8")
            let names = try FileManager.default.contentsOfDirectory(atPath: path("files")).sorted()
            #expect(names == ["backbone.safetensors", "centers-int8.safetensors"])
            let file = try SafeTensorsFile(path("files/centers-int8.safetensors"))
            let entry = try file.signedBytes("features")
            #expect(entry.shape == [101, 16])
            var codes = [Int8](repeating: 0, count: 101 * 16)
            try codes.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
            let scales = try file.tensor(file.entry("scales", .f32)).array(Float.self)
            #expect(try file.tensor(file.entry("labels", .i64)).array(Int64.self) == (0..<101).map(Int64.init))
            for row in 0..<101 {
                let mine = values[row * 16..<(row + 1) * 16]
                let scale: Float = mine.map(abs).reduce(0, max) / 127
                #expect(scales[row] == scale)
                let expected = mine.map { number -> Int8 in Int8((number / scale).rounded(.toNearestOrEven)) }
                #expect(Array(codes[row * 16..<(row + 1) * 16]) == expected)
            }
            let refused = try coordinator(
                "export", path("other"), "--checkpoint", path("first"), "--int8", "--optimizer", code: 64)
            #expect(refused.contains("do not go together"))
        }
    }

    @Test(arguments: ["f32", "bf16"], ["f32", "bf16", "int8", "none"])
    func everyFormatIsExportedAsF32(storage: String, momentum: String) throws {
        try withDirectory { directory in
            func path(_ name: String) -> String { directory.appending(path: name).path }
            let values = (0..<101 * 16).map { Float($0 % 89 - 40) / 3 }
            for (name, factor) in [("centers", Float(1)), ("momentum", 0.01)] {
                try SafeTensors(tensors: [name: Tensor(values.map { $0 * factor }, shape: [101, 16])]).write(
                    to: path("\(name).safetensors"))
            }
            let keeps = momentum != "none"
            let rate = keeps ? 0.9 : 0
            let text = settings + "\noptimizer: {momentum: \(rate)}"
            try text.replacing("scale: 16", with: "scale: 16, storage: \(storage), momentum_storage: \(momentum)")
                .write(toFile: path("run.yaml"), atomically: true, encoding: .utf8)
            func imported(_ output: String, _ arguments: String..., code: Int32 = 0) throws -> String {
                let (status, text) = try LocalCluster.run(
                    "coordinator", ["import", "--config", path("run.yaml"), "--output", path(output)] + arguments)
                #expect(status == code, "\(text)")
                return text
            }
            if keeps {
                _ = try imported(
                    "first", "--centers", path("centers.safetensors"), "--momentum", path("momentum.safetensors"))
            } else {
                let refused = try imported(
                    "refused", "--centers", path("centers.safetensors"), "--momentum", path("momentum.safetensors"),
                    code: 66)
                #expect(refused.contains("momentum_storage"), "\(refused)")
                _ = try imported("first", "--centers", path("centers.safetensors"))
                let empty = try coordinator(
                    "export", path("none"), "--checkpoint", path("first"), "--momentum", code: 66)
                #expect(empty.contains("without --momentum"), "\(empty)")
            }
            #expect(try coordinator("verify", path("first")).contains("0 problems"))
            let flags = keeps ? ["--momentum"] : []
            let export = try LocalCluster.run(
                "coordinator", ["export", path("files"), "--checkpoint", path("first")] + flags)
            #expect(export.code == 0, "\(export.text)")
            let files = try slices(directory.appending(path: "files"))
            for name in files.keys.sorted() where name.hasPrefix("centers-") || name.hasPrefix("momentum-") {
                let isMomentum = name.hasPrefix("momentum-")
                let tensors = try SafeTensors(contentsOf: path("files/\(name)")).tensors.sorted { $0.key < $1.key }
                let read = try tensors.flatMap { name, tensor in
                    try #require(tensor.dtype == .f32)
                    return tensor.array(Float.self)
                }
                let expected = values.map { isMomentum ? $0 * 0.01 : $0 }
                // A bf16 has 8 bits; an int8 is one of 127 steps of the row's largest, 16 at most.
                let step: Float = isMomentum ? 0.16 / 250 : 0
                #expect(zip(read, expected).allSatisfy { abs($0 - $1) <= max(abs($1) / 256, step) })
            }
            // What was rounded once is not rounded again.
            if keeps {
                _ = try imported("second", "--centers", path("files"), "--momentum", path("files"))
            } else {
                _ = try imported("second", "--centers", path("files"))
            }
            #expect(
                try slices(directory.appending(path: "second/slices"))
                    == slices(directory.appending(path: "first/slices")))
            // A run of other formats does not begin with it.
            let other = storage == "f32" ? "bf16" : "f32"
            let (code, answer) = try LocalCluster.run(
                "coordinator",
                [
                    "serve", "--config", path("run.yaml"), "--set", "output=\(directory.path)", "--bind",
                    "tcp://127.0.0.1:*", "--resume", path("first"), "--set", "head.storage=\(other)", "--accept",
                    "head.storage",
                ])
            #expect(code == 78)
            #expect(answer.contains("head.storage \(storage)") && answer.contains("cannot be accepted"), "\(answer)")
            #expect(answer.contains("`coordinator export` and `import`"), "\(answer)")
        }
    }

    @Test func pyTorchLoadsIt() throws {
        try withDirectory { directory in
            func path(_ name: String) -> String { directory.appending(path: name).path }
            try settings.write(toFile: path("run.yaml"), atomically: true, encoding: .utf8)
            _ = try coordinator("import", "--config", path("run.yaml"), "--output", path("checkpoint"))
            _ = try coordinator("export", path("files"), "--checkpoint", path("checkpoint"), "--momentum")
            let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../..")
                .standardizedFileURL
            let script = root.appending(path: "scripts/check-export").path
            let environment = root.appending(path: ".build-python/bin/python3").path
            for python in [environment, "/usr/bin/python3", "/usr/local/bin/python3"]
            where FileManager.default.isExecutableFile(atPath: python) {
                let process = Process()
                process.executableURL = URL(fileURLWithPath: python)
                process.arguments = [script, path("files"), path("head.safetensors")]
                let output = Pipe()
                process.standardOutput = output
                process.standardError = output
                try process.run()
                let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                process.waitUntilExit()
                if process.terminationStatus == 77 { continue }
                #expect(process.terminationStatus == 0, "\(text)")
                #expect(text.contains("centers (101, 16)") && text.contains("backbone iresnet-small"), "\(text)")
                _ = try coordinator(
                    "import", "--config", path("run.yaml"), "--centers", path("head.safetensors"), "--output",
                    path("again"))
                let again = try slices(directory.appending(path: "again"))
                #expect(try slices(directory.appending(path: "checkpoint")) == again)
                return
            }
            print("skipped: no python3 here has torch and safetensors (scripts/install-dependencies ci)")
        }
    }

    @Test func aCheckpointOfAnotherConfigurationIsRefused() throws {
        try withDirectory { directory in
            func path(_ name: String) -> String { directory.appending(path: name).path }
            try settings.write(toFile: path("run.yaml"), atomically: true, encoding: .utf8)
            _ = try coordinator("import", "--config", path("run.yaml"), "--output", path("checkpoint"))
            func serve(_ arguments: String...) throws -> String {
                let (code, text) = try LocalCluster.run(
                    "coordinator",
                    [
                        "serve", "--config", path("run.yaml"), "--set", "output=\(directory.path)", "--bind",
                        "tcp://127.0.0.1:*", "--resume", path("checkpoint"),
                    ] + arguments)
                #expect(code == 78)
                return text
            }
            let difference = try serve("--set", "head.scale=3")
            #expect(difference.contains("head.scale: stored 16, now 3"), "\(difference)")
            let never = try serve("--set", "head.slices=4", "--accept", "head.slices")
            #expect(never.contains("cannot be accepted"), "\(never)")
            #expect(try serve("--accept", "head.nonsense").contains("head.nonsense"))
        }
    }
}
