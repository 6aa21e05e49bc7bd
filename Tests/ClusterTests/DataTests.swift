import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// What an operator sees of data that are not what they should be.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct DataTests {
    /// Twelve identities: of one no file is a picture, of another all are of a kind that is not read.
    private func writeData(to directory: URL) throws -> URL {
        let data = try writeFolderDataset(to: directory)
        for image in 0..<5 {
            try Data("no picture".utf8).write(to: data.appending(path: "id03/\(image).pgm"))
            let gone = data.appending(path: "id04/\(image).pgm")
            try FileManager.default.removeItem(at: gone)
            try Data([0x49, 0x49, 0x2A, 0]).write(to: data.appending(path: "id04/\(image).tif"))
        }
        return data
    }

    @Test func whatIsLeftOutIsInTheStatus() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(
                configuration: folderTraining(writeData(to: directory), steps: 100_000),
                world: .init(shards: 1, workers: 1))
            let status = try cluster.waitForStatus("both identities are left out", seconds: 60) {
                $0.workers.contains { $0.leftOutIdentities == 2 && $0.leftOutSamples == 5 && $0.replacedImages > 0 }
            }
            #expect(status.classes == 11)
            let text = try cluster.run("status").text
            #expect(text.contains("5 samples left out, 2 identities without an image that can be read"), "\(text)")
            let log = cluster.log("coordinator", lines: 1000)
            #expect(log.contains("id04/0.tif") && log.contains("kind TIFF"), "\(log)")
        }
    }

    @Test func dataThatCannotBeMeantEndTheCoordinator() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            for (path, code, message) in [
                // One level too deep: the images of one identity.
                (data.appending(path: "id03").path, 70, "name the folder above it"),
                // One level too high.
                (directory.path, 70, "there are folders with images in"),
            ] {
                let file = directory.appending(path: "wrong.yaml")
                try Data(folderTraining(URL(filePath: path), steps: 10).utf8).write(to: file)
                let result = try LocalCluster.run(
                    "coordinator",
                    ["serve", "--config", file.path, "--bind", "tcp://127.0.0.1:*", "--http", "off"])
                #expect(result.code == code && result.text.contains(message), "\(result.code): \(result.text)")
            }
            for identity in 0..<12 where identity != 5 {
                let name = "id" + (identity < 10 ? "0" : "") + "\(identity)"
                try FileManager.default.removeItem(at: data.appending(path: name))
            }
            let file = directory.appending(path: "one.yaml")
            try Data(folderTraining(data, steps: 10).utf8).write(to: file)
            let result = try LocalCluster.run(
                "coordinator", ["serve", "--config", file.path, "--bind", "tcp://127.0.0.1:*", "--http", "off"])
            #expect(result.code == 78 && result.text.contains("only one class (5 samples)"), "\(result.text)")
        }
    }
}
