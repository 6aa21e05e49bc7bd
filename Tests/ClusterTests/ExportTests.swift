import ClusterHarness
import Foundation
import Tensors
import Testing

/// Checkpoints to and from files that other programs read. No cluster runs here.
@Suite struct ExportTests {
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
