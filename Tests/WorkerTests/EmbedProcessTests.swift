import Foundation
import Model
import Tensors
import TestSupport
import Testing

@Suite(.tags(.cluster), .timeLimit(.minutes(10))) struct EmbedProcessTests {
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
