import Cluster
import Foundation
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

/// PROTOCOL.md is enough to write a client from: its bytes are those that are sent.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct PageTests {
    /// The ```` ```hex NAME ```` blocks of the page.
    private static let blocks: [String: [UInt8]] = {
        let page = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Sources/Wire/PROTOCOL.md").standardized
        var blocks: [String: [UInt8]] = [:]
        var name: String?
        for line in ((try? String(contentsOf: page, encoding: .utf8)) ?? "").split(separator: "\n") {
            if line.hasPrefix("```") {
                name = line.hasPrefix("```hex ") ? String(line.dropFirst(7)) : nil
            } else if let name {
                let hex = line.prefix(48).split(separator: " ")
                blocks[name, default: []] += hex.compactMap { UInt8($0, radix: 16) }
            }
        }
        return blocks
    }()

    private func expect(_ message: WireMessage, request: UInt64, is names: [String]) throws {
        let page = Frames(try names.map { try #require(PageTests.blocks[$0], "no block \($0) in PROTOCOL.md") })
        #expect(try Frames(message, request: request) == page)
        let decoded = try page.decoded()
        #expect(decoded.request == request)
        #expect(fields(decoded.message) == fields(message))
        #expect(tensors(decoded.message).map(contents) == tensors(message).map(contents))
    }

    @Test func hello() throws {
        var hello = Hello(role: .worker, incarnation: 300)
        hello.clusterID = "glyphs"
        hello.classCount = 5530
        hello.instructionSet = "avx512"
        hello.threads = 2
        try expect(.hello(hello), request: 1, is: ["hello"])
    }

    @Test func welcome() throws {
        var welcome = Welcome(clusterID: "glyphs", member: MemberID(.worker, 7))
        welcome.committed = 11
        try expect(.welcome(welcome), request: 1, is: ["welcome"])
    }

    @Test func begin() throws {
        let request = StepRequest(
            id: StepID(term: 2, step: 12, attempt: 0), rank: 0, worldSize: 1, mapVersion: 3, phase: .begin,
            committed: 11,
            exchange: .features, learningRate: 0.5, microBatches: 0..<1, payload: [Tensor([5, 4711] as [Int64])])
        try expect(.stepRequest(request, incarnation: 300), request: 2, is: ["begin", "begin labels"])
    }

    @Test func begun() throws {
        let reply = StepReply(
            id: StepID(term: 2, step: 12, attempt: 0), rank: 0, phase: .begin,
            outcome: .done([Tensor([100, 101] as [Int32])]))
        try expect(.stepReply(reply), request: 2, is: ["begun", "begun counts"])
    }

    @Test func checkpoint() throws {
        let plan = Plan(
            revision: 40, id: StepID(term: 2, step: 13, attempt: 0), committed: 12, mapVersion: 3, classVersion: 0,
            safe: 9, exchange: .features, learningRate: 0.5, ranks: [],
            shards: [
                .init(
                    shard: MemberID(.shard, 1), endpoint: "tcp://a:1", slices: SliceSet([0..<6, 8..<16]),
                    denseSlices: SliceSet(0..<8))
            ], activity: .task(BoundaryTask(number: 5, step: 12, kind: .checkpoint(directory: "/c/12"))))
        try expect(.plan(plan), request: 3, is: ["checkpoint"])
        let done = TaskDone(
            member: MemberID(.shard, 1), incarnation: 300, number: 5, outcome: .done(detail: "[]"))
        try expect(.taskDone(done), request: 4, is: ["task done"])
    }

    @Test func transfer() throws {
        let request = TransferRequest(slice: .centers(8), term: 2, mapVersion: 3, part: .chunk(0))
        try expect(.transferRequest(request), request: 5, is: ["chunk request"])
        let reply = TransferReply(
            slice: .centers(8), part: .chunk(0),
            content: .chunk(
                count: 2, step: 12,
                [Tensor([1, -1] as [Float], shape: [1, 2]), Tensor([0.5, 0] as [Float], shape: [1, 2])]))
        try expect(.transferReply(reply), request: 5, is: ["chunk", "chunk rows", "chunk momentum"])
    }

    @Test func fragments() throws {
        let reply = StepReply(
            id: StepID(term: 2, step: 12, attempt: 0), rank: 0, phase: .forward,
            outcome: .done([Tensor([7] as [Int64]), Tensor(zeros: Float.self, shape: [262_145])]))
        let parts = try WireCodec.encode(.stepReply(reply), request: 6, series: 9).parts
        #expect(parts.map { $0.map(\.byteCount).dropFirst() } == [[8, 0], [1 << 20], [4]])
        #expect(contents(parts[0][0]) == PageTests.blocks["announcement"])
        #expect(contents(parts[2][0]) == PageTests.blocks["fragment"])
    }

    /// The same bytes, put together without protobuf-c.
    @Test func theBytesFollowFromTheSchema() throws {
        let hello = Proto().number(2, 4).text(3, "glyphs").number(5, 300).number(8, 5530).text(10, "avx512")
            .number(11, 2).signed(14, -1)
        #expect(PageTests.blocks["hello"] == Proto().number(1, 1).message(16, hello).bytes)
        let request = Proto().number(1, 300).message(2, Proto().number(1, 12).number(3, 2)).number(4, 1).number(5, 3)
            .number(6, 1)
            .signed(7, 11).number(8, 1).float(9, 0.5).message(10, Proto().number(2, 1))
        #expect(PageTests.blocks["begin"] == Proto().number(1, 2).tensor(3, [2]).message(32, request).bytes)
    }

    /// Every refusal code, dtype and message of the code is on the page, with its number.
    @Test func thePageIsComplete() throws {
        let page = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../Sources/Wire/PROTOCOL.md").standardized, encoding: .utf8)
        for code in RefusalCode.allCases { #expect(page.contains("| \(code.rawValue) | \(code) |")) }
        for message in Samples.all() { #expect(page.contains("| `\(message.name)` |")) }
        for phase in StepPhase.allCases { #expect(page.contains("| \(phase.rawValue) \(phase) |")) }
        #expect(page.contains("| type | " + DType.allCases.map { "\($0)" }.joined(separator: " | ") + " |"))
        #expect(page.contains("| bytes | " + DType.allCases.map { "\($0.size)" }.joined(separator: " | ") + " |"))
        #expect(page.contains("Protocol version: **\(wireProtocolVersion)**"))
    }
}
