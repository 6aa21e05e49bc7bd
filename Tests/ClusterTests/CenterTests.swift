import ClusterHarness
import Foundation
import OperatorStatus
import Tensors
import TestSupport
import Testing

/// What operators ask of class centers, against rows whose answers are known.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct CenterTests {
    private struct Center: Decodable {
        var id: Int
        var owner: String
        var norm: Double
        var momentumNorm: Double
        var lastStep: Int?
        var knownSince: Int?
    }

    private struct Neighbor: Decodable {
        var id: Int
        var cosine: Double
    }

    private struct Pair: Decodable, Equatable {
        var a: Int
        var b: Int
    }

    private struct Norms: Decodable {
        var count: Int
        var least: Double
        var largest: Double
        var counts: [Int]
    }

    /// 600 classes in directions of their own, of length 1 + id/100, but 41 as 7 and 599 near 8.
    private func writeCenters(to path: URL) throws {
        // A linear congruential generator, begun by the class.
        func direction(_ id: Int) -> [Double] {
            var state = UInt64(id) &* 0x9E37_79B9_7F4A_7C15
            return (0..<16).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Double(state >> 40) / Double(1 << 24) - 0.5
            }
        }
        var values: [Float] = []
        for id in 0..<600 {
            var row: [Double] = direction(id)
            if id == 41 { row = direction(7) }
            if id == 599 {
                row = direction(8)
                row[3] += 0.1
            }
            let length: Double = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let wanted: Double = 1 + Double(id) / 100
            values += row.map { Float($0 / length * wanted) }
        }
        try SafeTensors(tensors: ["centers": Tensor(values, shape: [600, 16])]).write(to: path.path)
    }

    @Test func centersAreFoundOnEveryShard() throws {
        try withDirectory { directory in
            let features = directory.appending(path: "features.safetensors")
            try SyntheticData.writeFeatures(to: features, samples: 64, size: 16, classes: 600, seed: 1)
            let centers = directory.appending(path: "centers.safetensors")
            try writeCenters(to: centers)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            // The learning rate is 0: rows stay what they are, and are touched all the same.
            try cluster.start(
                configuration: """
                    data: {kind: features, path: "\(features.path)", classes: 600}
                    backbone: {name: none, embedding_size: 16}
                    head: {slices: 8, sample_rate: 0.2, initial: "\(centers.path)"}
                    batch: {size: 16, micro_batch: 4}
                    optimizer: {weight_decay: 0}
                    schedule: {steps: 100000, learning_rate: 0}
                    evaluation: {held_out_pairs: 0}
                    """, world: .init(shards: 2, workers: 1))
            try cluster.waitUntilCommitted(20, seconds: 60)
            func ask<Answer: Decodable>(_ type: Answer.Type, _ command: String, _ arguments: String...) throws -> Answer
            {
                try JSONDecoder().decode(type, from: cluster.query(command, arguments))
            }
            let shown = try ask([Center].self, "center", "0", "599")
            #expect(shown.map(\.id) == [0, 599] && Set(shown.map(\.owner)).count == 2)
            #expect(abs(shown[0].norm - 1) < 1e-5 && abs(shown[1].norm - 6.99) < 1e-5)

            // A fifth of the classes takes part in a step: of 600 some in one of the last two, and all in the last few hundred.
            let all = try ask([Center].self, "center", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
            let committed = try cluster.committedStep()
            #expect(all.allSatisfy { $0.knownSince == 0 && ($0.lastStep ?? 0) <= committed })
            #expect(all.contains { ($0.lastStep ?? -1) > 0 } && Set(all.map(\.lastStep)).count > 1)

            let neighbors = try ask([Neighbor].self, "neighbors", "41", "-k", "3")
            #expect(neighbors.count == 3 && neighbors[0].id == 7 && abs(neighbors[0].cosine - 1) < 1e-5)
            #expect(neighbors[1].cosine < 0.999 && neighbors[1].cosine >= neighbors[2].cosine)
            #expect(try ask([Neighbor].self, "neighbors", "8", "-k", "1").first?.id == 599)

            func conflicts() throws -> [Pair] {
                try cluster.query("conflicts", ["--threshold", "0.97"]).split(separator: UInt8(ascii: "\n")).map {
                    try JSONDecoder().decode(Pair.self, from: $0)
                }
            }
            let pairs = try conflicts()
            #expect(pairs.contains(Pair(a: 7, b: 41)) && pairs.contains(Pair(a: 8, b: 599)), "\(pairs)")
            #expect(pairs.allSatisfy { $0.a < $0.b } && Set(pairs.map { $0.a * 600 + $0.b }).count == pairs.count)

            let norms = try ask(Norms.self, "norms", "--bins", "6")
            #expect(norms.count == 600 && norms.counts.reduce(0, +) == 600 && norms.counts.allSatisfy { $0 > 90 })
            #expect(abs(norms.least - 1) < 1e-5 && abs(norms.largest - 6.99) < 1e-5)
            #expect(try cluster.run("norms").text.contains("600 centers"))

            // One that was merged away is no conflict any more.
            #expect(try cluster.run("classes", ["merge", "41", "7"]).code == 0)
            try cluster.waitForStatus("the classes are merged", seconds: 30) { $0.classVersion == 1 }
            #expect(try conflicts() == pairs.filter { $0.a != 41 && $0.b != 41 })
            #expect(try ask([Neighbor].self, "neighbors", "7", "-k", "1").first?.id != 41)

            let none = try cluster.run("center", ["600"])
            #expect(none.code == 64 && none.text.contains("0…599"), "\(none.text)")
        }
    }
}
