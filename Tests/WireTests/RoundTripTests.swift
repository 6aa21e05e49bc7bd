import Cluster
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct RoundTripTests {
    @Test func everyMessageComesBack() throws {
        for message in Samples.all() {
            let frames = try Frames(message, request: 1 << 63)
            let (request, decoded) = try frames.decoded()
            #expect(request == 1 << 63)
            #expect(decoded.name == message.name)
            #expect(fields(decoded) == fields(message))
            #expect(tensors(decoded).map(\.shape) == tensors(message).map(\.shape))
            #expect(tensors(decoded).map(\.dtype) == tensors(message).map(\.dtype))
            #expect(tensors(decoded).map(contents) == tensors(message).map(contents))
            #expect(try Frames(decoded, request: 1 << 63) == frames)
        }
    }

    @Test func samplesCoverEveryMessage() {
        #expect(Set(Samples.all().map(\.name)).count == 28)
    }

    @Test func misalignedFramesBecomeAlignedTensors() throws {
        let long = Tensor((0..<5000).map(Double.init))
        for offset in 0..<16 {
            for tensor in [long, Tensor([Float](repeating: 3, count: 7)), Tensor([Int64](repeating: 9, count: 3000))] {
                let (_, decoded) = try Frames(Samples.request([tensor])).decoded(offset: offset)
                let copy = try #require(tensors(decoded).first)
                #expect(UInt(bitPattern: copy.rawPointer) % UInt(copy.dtype.size) == 0)
                #expect(contents(copy) == contents(tensor))
            }
        }
    }

    @Test func longAlignedFramesAreNotCopied() throws {
        let encoded = try WireCodec.encode(
            Samples.request([Tensor([Float](repeating: 1, count: 4096))]), request: 1)
        #expect(encoded.tensors[0].rawPointer == encoded.frames[1].rawPointer)
        let header = UnsafeRawBufferPointer(start: encoded.header.rawPointer, count: encoded.header.byteCount)
        defer { withExtendedLifetime(encoded) {} }
        let (_, decoded) = try WireCodec.decode(
            header: header, frames: [encoded.tensors[0].storage], limits: .server)
        #expect(tensors(decoded).first?.rawPointer == encoded.tensors[0].rawPointer)
    }

    @Test func partsOfTensorsAreSent() throws {
        let rows = Tensor((0..<12).map(Float.init), shape: [4, 3]).rows(1..<3)
        let (_, decoded) = try Frames(Samples.request([rows])).decoded()
        #expect(tensors(decoded)[0].array(Float.self) == [3, 4, 5, 6, 7, 8])
    }

    @Test func longTextForPeopleIsCut() throws {
        let text = String(repeating: "ü", count: 5000)
        let (_, decoded) = try Frames(.refused(Refusal(.internalError, text + "\0"))).decoded()
        guard case .refused(let refusal) = decoded else { throw WireError(.header, "not refused") }
        #expect(refusal.message.utf8.count <= 4096 && refusal.message.hasPrefix(String(repeating: "ü", count: 2000)))
    }
}
