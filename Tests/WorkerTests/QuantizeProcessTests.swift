import Foundation
import Model
import Tensors
import TestSupport
import Testing

@Suite(.tags(.cluster), .timeLimit(.minutes(20))) struct QuantizeProcessTests {
    private let folder: TemporaryFolder
    private let backbone: String

    init() throws {
        folder = try TemporaryFolder()
        let layout = try ParameterLayout(.named("iresnet-small", channels: 1, height: 32, width: 32))
        backbone = folder.path + "/b.safetensors"
        try BackboneFile.write(layout.initialValues(in: 0..<layout.count, seed: 1), layout: layout, to: backbone)
        for person in ["ann", "bob", "eve"] {
            for image in 0..<3 {
                let seed = person.utf8.reduce(image) { $0 * 3 + Int($1) }
                let pixels = (0..<1024).map { UInt8(($0 * (seed % 61 + 3) + seed) % 256) }
                for part in person == "eve" ? ["known"] : ["known", "asked"] {
                    _ = try folder.write(Array("P5 32 32 255\n".utf8) + pixels, to: "\(part)/\(person)/\(image).pgm")
                }
            }
        }
    }

    @discardableResult private func worker(_ arguments: String...) throws -> (code: Int32, text: String) {
        let programs = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let process = Process()
        process.executableURL = programs.appending(path: "worker")
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: folder.path)
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    private func features(_ name: String) throws -> [Float] {
        let file = try SafeTensorsFile(folder.path + "/" + name)
        return try file.tensor(file.entry("features", .f32)).array(Float.self)
    }

    private func cosine(_ a: [Float], _ b: [Float]) -> Float {
        func product(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        return product(a, b) / (product(a, a) * product(b, b)).squareRoot()
    }

    /// From a float backbone to its integers, and from these to ONNX and back: the same embeddings.
    @Test func aBackboneInIntegersEmbedsLikeItself() throws {
        let made = try worker(
            "quantize", backbone, "--bits", "7", "--calibrate", "known", "--output", "q.safetensors", "--count", "6",
            "--report", "r.json", "--plot", "e.svg", "--raise", "1", "--profile")
        #expect(made.code == 0, "\(made.text)")
        #expect(made.text.contains("has 3 identities") && made.text.contains("with 8 bits"))
        #expect(FileManager.default.fileExists(atPath: folder.path + "/r.json"))
        #expect(FileManager.default.fileExists(atPath: folder.path + "/e.svg"))
        #expect(try worker("export", "--backbone", "q.safetensors", "--output", "q.onnx").code == 0)
        #expect(
            try worker("export", "--backbone", "q.safetensors", "--output", "n.onnx", "--with-normalization").code == 0)
        for (network, output) in [(backbone, "f"), ("q.safetensors", "q"), ("q.onnx", "o"), ("n.onnx", "n")] {
            let result = try worker(
                "embed", "--backbone", network, "--images", "known", "--output", "\(output).features.safetensors")
            #expect(result.code == 0, "\(result.text)")
            // A network that normalises pixels itself is given pixels.
            #expect(result.text.contains("normalises pixels itself") == (output == "n"))
        }
        let integers = try features("q.features.safetensors")
        #expect(try cosine(integers, features("f.features.safetensors")) > 0.98)
        #expect(try integers == features("o.features.safetensors"))
        #expect(try cosine(integers, features("n.features.safetensors")) > 0.9999)
        let over = try worker(
            "export", "--backbone", "q.safetensors", "--output", "./q.safetensors")
        #expect(over.code == 64 && over.text.contains("is what is read"), "\(over.text)")
        let again = try worker(
            "quantize", "q.safetensors", "--calibrate", "known", "--output", "r.safetensors")
        #expect(again.code == 70 && again.text.contains("quantised already"), "\(again.text)")
    }

    @Test func unknownLayersAreNamedWithThoseThatThereAre() throws {
        let result = try worker(
            "quantize", backbone, "--calibrate", "known", "--output", "q.safetensors", "--keep-float", "conv9")
        #expect(result.code == 64 && result.text.contains("no layer conv9; it has conv1, "), "\(result.text)")
    }

    /// Labels that count other folders would make strangers mates.
    @Test func labelsOfOtherFoldersAreRefused() throws {
        for part in ["known", "asked"] {
            #expect(
                try worker("embed", "--backbone", backbone, "--images", part, "--output", "\(part).safetensors").code
                    == 0)
        }
        let refused = try worker("identify", "--gallery", "known.safetensors", "--probe", "asked.safetensors")
        #expect(refused.code == 70 && refused.text.contains("count other folders"), "\(refused.text)")
        let own = try worker("identify", "--gallery", "known.safetensors", "--probe", "known.safetensors")
        #expect(own.code == 0 && own.text.contains("rank-1"), "\(own.text)")
    }
}
