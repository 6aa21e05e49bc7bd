import StepProtocol
import Tensors
import Testing
import Wire

@Suite struct MalformedTests {
    private func failure(_ header: Proto, _ frames: [[UInt8]] = [], limits: WireLimits = .server) -> WireError? {
        do throws(WireError) {
            _ = try Frames([header.number(1, 5).bytes] + frames).decoded(limits: limits)
            return nil
        } catch { return error }
    }

    private let member = Proto().number(1, 0).number(2, 3)
    private let id = Proto().number(1, 8).number(2, 1)
    private func range(_ lower: UInt64, _ upper: UInt64) -> Proto { Proto().number(1, lower).number(2, upper) }

    /// A step_request; `change` adds fields, of which the last one counts.
    private func request(_ change: (Proto) -> Proto = { $0 }) -> Proto {
        Proto().message(
            32,
            change(
                Proto().message(2, id).number(3, 1).number(4, 2).number(6, 1).signed(7, 7).number(8, 1).float(9, 0.1)
                    .message(10, range(0, 2))))
    }

    private func heartbeat(_ change: (Proto) -> Proto) -> Proto {
        Proto().message(20, change(Proto().message(1, member)))
    }

    private func stepDone(_ range: Proto, sums: Int, norm: Double = 1) -> Proto {
        Proto().message(
            24,
            Proto().message(1, member).message(3, id).message(4, range)
                .bytes(5, [UInt8](repeating: 0, count: 8 * sums)).double(6, norm))
    }

    @Test func aGoodMessagePasses() {
        #expect(failure(request()) == nil)
        #expect(failure(request().tensor(0, [2, 3]), [[UInt8](repeating: 0, count: 24)]) == nil)
        #expect(failure(heartbeat { $0.message(3, Proto().text(1, "a").double(2, 1)) }) == nil)
        #expect(failure(stepDone(range(2, 4), sums: 2)) == nil)
    }

    @Test func headersThatAreNone() throws {
        let garbage = Proto(bytes: [0xff, 0xff, 0xff, 0xff])
        #expect(throws: WireError.self) { try Frames([garbage.bytes]).decoded() }
        #expect(failure(garbage)?.code == .header)
        // A length beyond the end.
        #expect(failure(Proto(bytes: [0x82, 0x01, 0x7f]))?.code == .header)
        #expect(failure(Proto())?.code == .unknownMessage)
        #expect(failure(Proto().message(99, Proto()))?.code == .unknownMessage)
        #expect(failure(Proto())?.refusalCode == .unknownRequest)
        #expect(failure(Proto())?.request == 5)
    }

    @Test func framesThatAreNotAsDescribed() {
        let bytes = [UInt8](repeating: 0, count: 24)
        #expect(failure(request().tensor(0, [2, 3]))?.code == .frameCount)
        #expect(failure(request(), [bytes])?.code == .frameCount)
        #expect(failure(request().tensor(0, [2, 3]), [bytes, bytes])?.code == .frameCount)
        #expect(failure(request().tensor(0, [2, 4]), [bytes])?.code == .frameSize)
        #expect(failure(request().tensor(1, [2, 3]), [bytes])?.code == .frameSize)
        #expect(failure(request().tensor(0, []), [bytes])?.code == .frameSize)
        #expect(failure(request().tensor(0, [0, 6]), [bytes])?.code == .frameSize)
        #expect(failure(request().tensor(5, [24]), [bytes])?.code == .field)
        #expect(failure(request().tensor(0, [1, 1, 1, 1, 1, 1, 1, 2, 3]), [bytes])?.code == .tooLarge)
    }

    @Test func sizesThatOverflow() {
        for shape: [UInt64] in [
            [1 << 62], [1 << 48, 1 << 48], [1 << 32, 1 << 32, 1 << 32], [UInt64.max], [1 << 63, 2],
            [0, 1 << 47, 1 << 47], [1 << 48, 1 << 48, 0],
        ] {
            for frame in [[], [UInt8](repeating: 0, count: 8)] {
                let error = failure(request().tensor(1, shape), [frame])
                #expect(error?.code == .tensor || error?.code == .field, "\(shape)")
            }
        }
    }

    @Test func tensorsThatTheMessageDoesNotHave() {
        let bytes = [UInt8](repeating: 0, count: 24)
        #expect(failure(Proto().message(44, Proto()).tensor(0, [6]), [bytes])?.code == .tensor)
        #expect(failure(Proto().message(42, Proto()))?.code == .tensor)
        #expect(failure(Proto().message(42, Proto()).tensor(0, [6]), [bytes])?.code == .tensor)
        #expect(failure(Proto().message(42, Proto()).tensor(3, [3, 1]), [bytes])?.code == .tensor)
        #expect(failure(Proto().message(43, Proto()).tensor(0, [3, 2]), [bytes])?.code == .tensor)
        #expect(
            failure(Proto().message(43, Proto()).tensor(0, [3, 2]).tensor(0, [2, 3]), [bytes, bytes])?.code == .tensor)
        let stale = Proto().message(1, id).message(5, Proto().message(1, id))
        #expect(failure(Proto().message(33, stale)) == nil)
        #expect(failure(Proto().message(33, stale).tensor(0, [6]), [bytes])?.code == .tensor)
    }

    @Test func fieldsOutOfRange() {
        let cases: [(String, Proto)] = [
            ("phase", request { $0.number(6, 6) }), ("exchange", request { $0.number(8, 2) }),
            ("rank", request { $0.number(3, 2) }), ("rank", request { $0.number(4, 0) }),
            ("rank", request { $0.number(3, 1 << 30) }), ("committed", request { $0.signed(7, -2) }),
            ("committed", request { $0.signed(7, .min) }), ("map_version", request { $0.number(5, .max) }),
            ("micro_batches", request { $0.message(10, range(3, 2)) }),
            ("micro_batches", request { $0.message(10, range(3, 1 << 31)) }),
            ("learning_rate", request { $0.float(9, .nan) }), ("learning_rate", request { $0.float(9, -1) }),
            ("step", request { $0.message(2, Proto().number(1, 1 << 63)) }),
            ("attempt", request { $0.message(2, Proto().number(1, 1).number(2, 1 << 60)) }),
            ("loss_sums", stepDone(range(0, 3), sums: 2)), ("gradient_norm", stepDone(range(0, 2), sums: 2, norm: -1)),
            ("role", Proto().message(16, Proto().number(1, 3).number(2, 1))),
            ("previous_number", Proto().message(16, Proto().number(2, 1).signed(14, -2))),
            ("code", Proto().message(18, Proto().number(1, 99))), ("code", Proto().message(18, Proto())),
            ("exit_code", Proto().message(41, Proto().number(1, 256))),
            ("activity", Proto().message(23, Proto().message(1, id).number(8, 4))),
            ("slice", Proto().message(45, Proto().message(2, Proto().number(1, 1)).message(2, Proto().number(1, 1)))),
        ]
        for (field, header) in cases {
            let error = failure(header)
            #expect(error?.code == .field, "\(field)")
            #expect(error?.message.contains(field) == true, "\(field): \(error?.message ?? "")")
            #expect(error?.request == 5)
            #expect(error?.refusalCode == .malformed)
        }
    }

    @Test func fieldsThatAreMissing() {
        for header in [
            Proto().message(20, Proto()), Proto().message(22, Proto()), Proto().message(23, Proto()),
            Proto().message(32, Proto()), Proto().message(33, Proto()), Proto().message(33, Proto().message(1, id)),
            Proto().message(33, Proto().message(1, id).message(5, Proto())),
            Proto().message(32, Proto().message(2, id).number(4, 1)), Proto().message(17, Proto()),
        ] {
            #expect(failure(header)?.code == .field)
            #expect(failure(header)?.message.contains("missing") == true)
        }
    }

    @Test func textsThatAreTooLongOrNotText() {
        let long = String(repeating: "x", count: 257)
        #expect(failure(Proto().message(16, Proto().number(2, 1).text(3, long)))?.code == .text)
        #expect(failure(Proto().message(16, Proto().number(2, 1).bytes(4, [0x61, 0xc3])))?.code == .text)
        #expect(failure(Proto().message(16, Proto().number(2, 1).bytes(4, [0xed, 0xa0, 0x80])))?.code == .text)
        #expect(
            failure(Proto().message(18, Proto().number(1, 1).text(2, String(repeating: "x", count: 4097))))?.code
                == .text)
        let entry = Proto().text(1, "twice").text(2, "x")
        #expect(failure(heartbeat { $0.message(4, entry).message(4, entry) })?.code == .text)
        let configuration = String(repeating: "x", count: 1 << 20 + 1)
        #expect(failure(Proto().message(17, Proto().message(3, member).text(4, configuration)))?.code == .text)
    }

    @Test func countsAndSizesBeyondTheLimits() {
        var many = Proto().message(1, member)
        for index in 0..<257 { many = many.message(3, Proto().text(1, "\(index)")) }
        #expect(failure(Proto().message(20, many))?.code == .tooLarge)
        var tensors = request()
        for _ in 0..<65 { tensors = tensors.tensor(4, [1]) }
        #expect(failure(tensors, [[UInt8]](repeating: [1], count: 65))?.code == .tooLarge)
        let header = Proto().message(41, Proto().text(2, String(repeating: "x", count: 2 << 20)))
        #expect(failure(header)?.code == .tooLarge)
        #expect(failure(header, limits: .client) == nil)
        let small = WireLimits(headerByteCount: 100, messageByteCount: 100)
        #expect(
            failure(request().tensor(4, [90]), [[UInt8](repeating: 0, count: 90)], limits: small)?.refusalCode
                == .tooLarge)
    }

    @Test func whatWouldBeRefusedIsNotSent() throws {
        func unencodable(_ message: WireMessage) -> WireError.Code? {
            do throws(WireError) {
                _ = try WireCodec.encode(message, request: 1)
                return nil
            } catch { return error.code }
        }
        var hello = Samples.hello
        hello.classCount = -1
        #expect(unencodable(.hello(hello)) == .field)
        hello = Samples.hello
        hello.name = String(repeating: "x", count: 257)
        #expect(unencodable(.hello(hello)) == .text)
        hello.name = "a\0b"
        #expect(unencodable(.hello(hello)) == .text)
        #expect(unencodable(Samples.reply(.stale(current: Samples.id, committed: -2))) == .field)
        #expect(unencodable(.readRows(ids: Tensor([Float(1)]))) == .tensor)
        #expect(unencodable(Samples.request([Tensor](repeating: Tensor([Float(1)]), count: 65))) == .tooLarge)
        #expect(unencodable(.operatorReply(OperatorReply(exitCode: -1, json: ""))) == .field)
        let statistics = Dictionary(uniqueKeysWithValues: (0..<257).map { ("\($0)", 0.0) })
        let heartbeat = Heartbeat(member: Samples.worker, incarnation: 1, statistics: statistics)
        #expect(unencodable(.heartbeat(heartbeat)) == .tooLarge)
        var welcome = Samples.welcome
        welcome.configuration = String(repeating: "x", count: 1 << 20)
        #expect(unencodable(.welcome(welcome)) == nil)
    }
}
