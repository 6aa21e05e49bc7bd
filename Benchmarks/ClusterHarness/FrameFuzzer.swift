internal import CZeroMQ
internal import Determinism
internal import Foundation

/// Sends random and mutated messages to a server's port, as a broken or hostile peer would.
public struct FrameFuzzer {
    private var random: KeyedRandom

    /// - Parameter seed: what is sent is a function of it.
    public init(seed: UInt64) { random = KeyedRandom(seed: seed, purpose: .test) }

    /// Sends `count` messages to `endpoint` over connections that are renewed now and then.
    ///
    /// - Returns: answers that came back.
    /// - Throws: `HarnessError` if no socket can be made.
    public mutating func attack(_ endpoint: String, count: Int) throws -> Int {
        guard let context = zmq_ctx_new() else { throw HarnessError("no ZeroMQ context") }
        defer { zmq_ctx_term(context) }
        var answers = 0
        var sent = 0
        while sent < count {
            guard let socket = zmq_socket(context, ZMQ_DEALER) else { throw HarnessError("no ZeroMQ socket") }
            var linger: Int32 = 2000
            zmq_setsockopt(socket, ZMQ_LINGER, &linger, MemoryLayout<Int32>.size)
            guard zmq_connect(socket, endpoint) == 0 else { throw HarnessError("cannot connect to \(endpoint)") }
            let batch = min(count - sent, 2000)
            for _ in 0..<batch {
                send(socket)
                answers += drain(socket)
            }
            sent += batch
            Thread.sleep(forTimeInterval: 0.05)
            answers += drain(socket)
            zmq_close(socket)
        }
        return answers
    }

    private mutating func send(_ socket: UnsafeMutableRawPointer) {
        let frames = Int(random.below(4)) + 1
        for index in 0..<frames {
            var frame =
                index == 0 && random.below(4) != 0
                ? header() : bytes(Int(random.below(random.below(50) == 0 ? 70_000 : 64)))
            for _ in 0..<random.below(4) where !frame.isEmpty {
                frame[Int(random.below(UInt64(frame.count)))] = UInt8(truncatingIfNeeded: random.next())
            }
            let flags = index + 1 < frames ? ZMQ_SNDMORE : 0
            _ = frame.withUnsafeBytes { zmq_send(socket, $0.baseAddress, $0.count, flags) }
        }
    }

    /// Bytes that look like a protobuf header: fields with small numbers and lengths.
    private mutating func header() -> [UInt8] {
        var bytes: [UInt8] = [0x08, UInt8(random.below(128))]
        for _ in 0..<random.below(6) {
            let length = Int(random.below(24))
            let field = random.below(50)
            var tag = field << 3 | 2
            while tag >= 0x80 {
                bytes.append(UInt8(tag & 0x7F) | 0x80)
                tag >>= 7
            }
            bytes.append(UInt8(tag))
            bytes.append(UInt8(length))
            bytes += self.bytes(length)
        }
        return bytes
    }

    private mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    private func drain(_ socket: UnsafeMutableRawPointer) -> Int {
        var answers = 0
        var buffer = [UInt8](repeating: 0, count: 256)
        while zmq_recv(socket, &buffer, buffer.count, ZMQ_DONTWAIT) >= 0 { answers += 1 }
        return answers
    }
}
