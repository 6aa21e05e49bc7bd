import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// The event files of `coordinator serve --tensorboard`, read by the rules of TFRecord and protocol buffers.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct TensorBoardTests {
    @Test func everyStepIsInTheFilesOfBothCoordinators() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let events = directory.appending(path: "events")
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 200), arguments: ["--tensorboard", events.path])
            try cluster.addShard()
            try cluster.addWorker()
            try cluster.waitUntilCommitted(20)
            try cluster.restartCoordinator()
            try cluster.waitUntilFinished(seconds: 120)
            cluster.stop()

            let names = try FileManager.default.contentsOfDirectory(atPath: events.path).sorted()
            #expect(names.count == 2 && names.allSatisfy { $0.hasPrefix("events.out.tfevents.") }, "\(names)")
            var losses: [Int: Float] = [:]
            for name in names {
                let records = try TFRecords.read(Data(contentsOf: events.appending(path: name)))
                let first = try #require(records.first)
                #expect(first.text(3) == "brain.Event:2")
                #expect(first.double(1) ?? 0 > 1e9, "the time")
                #expect(records.dropFirst().first?.message(7)?.number(1) == 1, "a start")
                for record in records.dropFirst(2) {
                    for value in try #require(record.message(5)).messages(1) where value.text(1) == "train/loss" {
                        losses[Int(record.number(2) ?? 0)] = value.float(2)
                    }
                }
            }
            let lines = try RecordedStep.all(in: directory)
            #expect(losses.count == 200)
            for line in lines { #expect(losses[line.step] == line.loss.map { Float($0) }, "step \(line.step)") }
        }
    }
}

/// Reads records: length, checksum, data, checksum.
private enum TFRecords {
    static func read(_ data: Data) throws -> [WireMessage] {
        var rest = Array(data)[...]
        var records: [WireMessage] = []
        while !rest.isEmpty {
            let head = rest.prefix(8)
            let length = Int(number(head))
            guard rest.count >= 16 + length, masked(head) == UInt32(number(rest.dropFirst(8).prefix(4))) else {
                throw HarnessError("record \(records.count) has a wrong length or checksum of it")
            }
            let body = rest.dropFirst(12).prefix(length)
            guard masked(body) == UInt32(number(rest.dropFirst(12 + length).prefix(4))) else {
                throw HarnessError("record \(records.count) has a wrong checksum")
            }
            records.append(try WireMessage(body))
            rest = rest.dropFirst(16 + length)
        }
        return records
    }

    static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }

    /// CRC32C bit by bit, masked as TensorFlow masks it.
    private static func masked(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        var sum = UInt32.max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
        }
        sum = ~sum
        return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
    }
}

/// The fields of a message of protocol buffers.
private struct WireMessage {
    private var fields: [(number: Int, value: UInt64, bytes: ArraySlice<UInt8>)] = []

    init(_ bytes: ArraySlice<UInt8>) throws {
        var rest = bytes
        func varint() throws -> UInt64 {
            var value: UInt64 = 0
            for shift in stride(from: 0, to: 64, by: 7) {
                guard let byte = rest.popFirst() else { throw HarnessError("a number has no end") }
                value |= UInt64(byte & 0x7F) << UInt64(shift)
                if byte < 0x80 { return value }
            }
            throw HarnessError("a number is too long")
        }
        while !rest.isEmpty {
            let tag = try varint()
            switch tag & 7 {
            case 0: fields.append((Int(tag >> 3), try varint(), []))
            case let kind where kind == 1 || kind == 5 || kind == 2:
                let length = kind == 1 ? 8 : kind == 5 ? 4 : Int(try varint())
                guard rest.count >= length else { throw HarnessError("a field has no end") }
                fields.append((Int(tag >> 3), TFRecords.number(rest.prefix(min(length, 8))), rest.prefix(length)))
                rest = rest.dropFirst(length)
            default: throw HarnessError("a field of kind \(tag & 7)")
            }
        }
    }

    func number(_ field: Int) -> UInt64? { fields.first { $0.number == field }?.value }
    func double(_ field: Int) -> Double? { number(field).map { Double(bitPattern: $0) } }
    func float(_ field: Int) -> Float? { number(field).map { Float(bitPattern: UInt32($0)) } }
    func text(_ field: Int) -> String? {
        fields.first { $0.number == field }.map { String(decoding: $0.bytes, as: UTF8.self) }
    }
    func messages(_ field: Int) throws -> [WireMessage] {
        try fields.filter { $0.number == field }.map { try WireMessage($0.bytes) }
    }
    func message(_ field: Int) -> WireMessage? { try? messages(field).first }
}
