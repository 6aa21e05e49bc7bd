import Foundation
import Model
import Tensors
import TestSupport
import Testing

@Suite(.tags(.cluster), .timeLimit(.minutes(20))) struct EmbedProcessTests {
    private func start(_ arguments: [String]) throws -> (process: Process, errors: Pipe) {
        let folder = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let process = Process()
        process.executableURL = folder.appending(path: "worker")
        process.arguments = ["embed"] + arguments
        let errors = Pipe()
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        try process.run()
        return (process, errors)
    }

    /// 49 images again and again: a row that is missing or there twice would be another image's.
    @Test func goesOnAfterAKill() throws {
        let folder = try TemporaryFolder()
        for image in 0..<49 {
            let pixels = (0..<1024).map { UInt8(($0 * (image + 3) + image * 5) % 256) }
            _ = try folder.write(Array("P5 32 32 255\n".utf8) + pixels, to: "i\(image).pgm")
        }
        let count = 6000
        let list = (0..<count).map { "i\($0 % 49).pgm\t\($0 % 49)" }.joined(separator: "\n")
        let images = try folder.write(Array(list.utf8), to: "list.txt")
        let configuration = try BackboneConfiguration.named("iresnet-small", channels: 1, height: 32, width: 32)
        let layout = try ParameterLayout(configuration)
        let backbone = folder.path + "/b.safetensors"
        try BackboneFile.write(layout.initialValues(in: 0..<layout.count, seed: 1), layout: layout, to: backbone)
        let output = folder.path + "/e.safetensors"
        let arguments = ["--backbone", backbone, "--images", images, "--output", output, "--threads", "1", "--no-flip"]
        let first = try start(arguments)
        while first.process.isRunning, !FileManager.default.fileExists(atPath: output + ".progress") { usleep(2000) }
        kill(first.process.processIdentifier, SIGKILL)
        first.process.waitUntilExit()
        #expect(first.process.terminationReason == .uncaughtSignal)
        #expect(!FileManager.default.fileExists(atPath: output))
        let second = try start(arguments)
        let text = String(decoding: try second.errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        second.process.waitUntilExit()
        #expect(second.process.terminationStatus == 0, "\(text)")
        #expect(text.contains("going on after"))
        let file = try SafeTensorsFile(output)
        let features = try file.tensor(file.entry("features", .f32))
        let size = features.shape[1]
        #expect(features.shape[0] == count)
        let values = features.array(Float.self)
        let wrong = (49..<count).filter { row in
            (0..<size).contains { abs(values[row * size + $0] - values[row % 49 * size + $0]) > 1e-4 }
        }
        #expect(wrong.isEmpty)
        #expect(values[0..<size] != values[size..<2 * size])
    }

    /// An image that does not decode ends it, unless told otherwise; int8 rows are the f32 ones.
    @Test func imagesThatDoNotDecodeAreLeftOutOnDemand() throws {
        let folder = try TemporaryFolder()
        for image in 0..<4 {
            let pixels = (0..<1024).map { UInt8(($0 * (image + 3) + image * 5) % 256) }
            _ = try folder.write(
                Array("P5 32 32 255\n".utf8) + pixels.prefix(image == 2 ? 9 : 1024), to: "i\(image).pgm")
        }
        let list = (0..<4).map { "i\($0).pgm\t\($0 + 10)" }.joined(separator: "\n")
        let images = try folder.write(Array(list.utf8), to: "list.txt")
        let layout = try ParameterLayout(.named("iresnet-small", channels: 1, height: 32, width: 32))
        let backbone = folder.path + "/b.safetensors"
        try BackboneFile.write(layout.initialValues(in: 0..<layout.count, seed: 1), layout: layout, to: backbone)
        func embed(_ name: String, _ more: String...) throws -> (code: Int32, text: String) {
            let (process, errors) = try start(
                ["--backbone", backbone, "--images", images, "--output", folder.path + "/" + name, "--threads", "1"]
                    + more)
            let text = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
            process.waitUntilExit()
            return (process.terminationStatus, text)
        }
        let refused = try embed("e.safetensors")
        #expect(refused.code == 70 && refused.text.contains("i2.pgm"), "\(refused.text)")
        let other = try embed("e.safetensors", "--network", "mbf")
        #expect(other.code == 70 && other.text.contains("holds iresnet-small"), "\(other.text)")
        #expect(try embed("e.npy", "--int8").text.contains("needs an --output that ends in .safetensors"))
        #expect(try embed("e.safetensors", "--skip-undecodable").code == 0)
        let skipped = try String(contentsOfFile: folder.path + "/e.safetensors.skipped.tsv", encoding: .utf8)
        #expect(skipped.split(separator: "\n").count == 2 && skipped.contains("2\t") && skipped.contains("i2.pgm"))
        let names = try String(contentsOfFile: folder.path + "/e.safetensors.names.tsv", encoding: .utf8)
        #expect(names.split(separator: "\n").count == 4 && !names.contains("i2.pgm"))
        let file = try SafeTensorsFile(folder.path + "/e.safetensors")
        #expect(try file.tensor(file.entry("labels", .i64)).array(Int64.self) == [10, 11, 13])

        #expect(try embed("bytes.safetensors", "--skip-undecodable", "--int8").code == 0)
        let rows = try file.tensor(file.entry("features", .f32)).array(Float.self)
        let bytes = try SafeTensorsFile(folder.path + "/bytes.safetensors")
        var codes = [Int8](repeating: 0, count: rows.count)
        try codes.withUnsafeMutableBufferPointer { try bytes.read(bytes.signedBytes("features"), into: $0) }
        let scales = try bytes.tensor(bytes.entry("scales", .f32)).array(Float.self)
        let size = rows.count / 3
        for row in 0..<3 {
            let mine = rows[row * size..<(row + 1) * size]
            let scale: Float = mine.map(abs).reduce(0, max) / 127
            #expect(scales[row] == scale)
            let expected = mine.map { number -> Int8 in Int8((number / scale).rounded(.toNearestOrEven)) }
            #expect(Array(codes[row * size..<(row + 1) * size]) == expected)
        }
    }

    /// 1 and 2³² + 1 are two persons.
    @Test func labelsAreComparedWhole() throws {
        let folder = try TemporaryFolder()
        for image in 0..<4 {
            let pixels = (0..<1024).map { UInt8(($0 * (image + 3) + image * 5) % 256) }
            _ = try folder.write(Array("P5 32 32 255\n".utf8) + pixels, to: "i\(image).pgm")
        }
        let labels: [Int64] = [1, 1, (1 << 32) + 1, 2]
        let list = labels.enumerated().map { "i\($0).pgm\t\($1)" }.joined(separator: "\n")
        let images = try folder.write(Array(list.utf8), to: "list.txt")
        let layout = try ParameterLayout(.named("iresnet-small", channels: 1, height: 32, width: 32))
        let backbone = folder.path + "/b.safetensors"
        try BackboneFile.write(layout.initialValues(in: 0..<layout.count, seed: 1), layout: layout, to: backbone)
        let output = Pipe()
        let process = Process()
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "worker")
        process.arguments = ["evaluate", "--backbone", backbone, "--all-to-all", images, "--threads", "1"]
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(text.contains("4 images, 1 same and 5 different pairs"), "\(text)")
    }
}
