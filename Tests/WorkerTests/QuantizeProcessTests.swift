import Foundation
import Model
import ONNX
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

    private func worker(_ arguments: String...) throws -> (code: Int32, text: String) { try worker(arguments) }

    private func worker(_ arguments: [String]) throws -> (code: Int32, text: String) {
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
        let exported = try worker("export", "--backbone", "q.safetensors", "--output", "q.onnx")
        #expect(exported.code == 0 && exported.text.contains("q.onnx: ONNX, "), "\(exported.text)")
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

    @Test func optionsThatContradictEachOtherAreRefused() throws {
        func refusal(_ arguments: String...) throws -> String {
            let result = try worker(
                ["quantize", "--calibrate", "known", "--output", "q.safetensors"] + arguments)
            #expect(result.code == 64, "\(result.text)")
            return result.text
        }
        #expect(try refusal().contains("name the backbone"))
        #expect(try refusal(backbone, "--backbone", backbone).contains("name the backbone twice"))
        #expect(try refusal(backbone, "--bits-of", "conv1=8", "conv1=6").contains("conv1=6 is the second"))
        #expect(
            try refusal(backbone, "--bits-of", "conv1=8", "--keep-float", "conv1").contains("exclude each other"))
    }

    /// A hundred thousand images would not fit: said before any is decoded.
    @Test func moreImagesThanMemoryHoldsAreRefused() throws {
        let line = "known/ann/0.pgm\n"
        _ = try folder.write(Array(String(repeating: line, count: 100_000).utf8), to: "many.txt")
        let result = try worker(
            "quantize", "--backbone", backbone, "--calibrate", "many.txt", "--output", "q.safetensors", "--count",
            "100000")
        #expect(result.code == 70 && result.text.contains("lower --count"), "\(result.text)")
        #expect(result.text.contains("a calibration with 100000 images takes about"), "\(result.text)")
    }

    /// A name of a file reaches no terminal as it is.
    @Test func namesOfFilesAreWrittenOut() throws {
        var net = try GraphBuilder(name: "n\u{1B}]0;x\u{7}", input: [1, 32, 32])
        let kernel = net.parameter("k", [2, 1, 8, 8])
        var x = try net.add("wide\u{1B}[2J", .convolution(.init(weight: kernel, strides: .init(8))), .input)
        x = try net.add("flat", .reshape([32]), x)
        x = try net.add("fc", .linear(weight: net.parameter("w", [4, 32]), bias: nil), x)
        let graph = try net.finish(x)
        let layout = ParameterLayout(graph)
        try ONNXFile.write(
            graph, parameters: Tensor((0..<layout.count).map { Float($0 % 7) / 7 - 0.4 }), to: folder.path + "/x.onnx")
        let unknown = try worker(
            "quantize", "x.onnx", "--calibrate", "known", "--output", "q.safetensors", "--keep-float", "no")
        #expect(unknown.text.contains("it has fc, wide\\u{1B}[2J"), "\(unknown.text)")
        let made = try worker(
            "quantize", "x.onnx", "--calibrate", "known", "--output", "q.safetensors", "--profile")
        #expect(made.code == 0 && made.text.contains("wide\\u{1B}[2J"), "\(made.text)")
        let kept = try worker(
            "quantize", "x.onnx", "--calibrate", "known", "--output", "q.safetensors", "--keep-float", "fc")
        #expect(kept.code == 0 && kept.text.contains(" float\n"), "\(kept.text)")
        _ = try folder.write([0x89, 0x50, 0x4E, 0x47, 0, 0x1B, 0x5B], to: "picture.txt")
        let binary = try worker("quantize", "x.onnx", "--calibrate", "picture.txt", "--output", "q.safetensors")
        #expect(binary.code == 70 && binary.text.contains("looks like a binary file"), "\(binary.text)")
        #expect(!(unknown.text + made.text).unicodeScalars.contains("\u{1B}"))
    }

    /// Rows of another preprocessing are neither mixed with those that are there nor thrown away.
    @Test func embeddingGoesOnWithTheSameOptionsOnly() throws {
        let arguments = ["embed", "--backbone", backbone, "--images", "known", "--output", "e.safetensors"]
        #expect(try worker(arguments).code == 0)
        let progress = #"{"work": {"backbone": "0", "flip": "true"}, "size": 4, "rows": 3}"#
        _ = try folder.write([UInt8](repeating: 0, count: 48), to: "e.safetensors.rows")
        _ = try folder.write(Array(progress.utf8), to: "e.safetensors.progress")
        let refused = try worker(arguments)
        #expect(refused.code == 70 && refused.text.contains("has 3 rows of another embedding"), "\(refused.text)")
        #expect(refused.text.contains("backbone was 0, is ") && refused.text.contains("remove it to begin anew"))
    }

    @Test func unknownLayersAreNamedWithThoseThatThereAre() throws {
        let result = try worker(
            "quantize", backbone, "--calibrate", "known", "--output", "q.safetensors", "--keep-float", "conv9")
        #expect(result.code == 64 && result.text.contains("no layer conv9; the nearest of its "), "\(result.text)")
        #expect(result.text.contains("conv1") && result.text.count < 300, "\(result.text)")
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
        let bytes = try worker(
            "embed", "--backbone", backbone, "--images", "known", "--int8", "--output", "bytes.safetensors")
        #expect(bytes.code == 0, "\(bytes.text)")
        let pairs = try worker("evaluate", "--all-to-all", "bytes.safetensors")
        #expect(pairs.code == 0 && pairs.text.contains("9 images, 9 same and 27 different"), "\(pairs.text)")
        let own = try worker(
            "identify", "--gallery", "known.safetensors", "--probe", "known.safetensors", "--output", "n.tsv")
        let nearest = try String(contentsOfFile: folder.path + "/n.tsv", encoding: .utf8)
        #expect(nearest.contains("\tprobe_name\tname\n") && nearest.contains("known/ann/0.pgm\n"), "\(nearest)")
        #expect(own.code == 0 && own.text.contains("rank-1"), "\(own.text)")
    }
}
