import Cluster
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct MalformedTests {
    private func failure(_ header: Proto, _ frames: [[UInt8]] = [], limits: WireLimits = .server) -> WireError? {
        do throws(WireError) {
            _ = try Frames([header.number(1, 5).bytes] + frames).decoded(limits: limits)
            return nil
        } catch { return error }
    }

    private let version = UInt64(wireProtocolVersion)
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

    private let slice = Proto().number(1, 1).number(2, 4)

    /// A plan whose activity is the task.
    private func plan(task: Proto) -> Proto {
        Proto().message(23, Proto().message(1, id).number(8, 4).message(14, task))
    }

    /// A plan with these values of the head, over possible ones.
    private func plan(_ head: (Proto) -> Proto) -> Proto {
        let values = Proto().double(1, 0.1).double(2, 1).double(3, 0.5).double(5, 64)
        return Proto().message(23, Proto().message(1, id).message(26, head(values)))
    }

    /// A plan of one shard with these ranges of slices.
    private func plan(slices: [Proto]) -> Proto {
        let shard = slices.reduce(Proto().message(1, member)) { $0.message(3, $1) }
        return Proto().message(23, Proto().message(1, id).message(7, shard))
    }

    /// A heartbeat with these entries of `received`.
    private func report(_ entries: [Proto]) -> Proto {
        heartbeat { $0.message(5, entries.reduce(Proto()) { $0.message(3, $1) }) }
    }

    private func taskDone(_ outcome: (Proto) -> Proto) -> Proto {
        Proto().message(28, outcome(Proto().message(1, member).number(3, 1)))
    }

    @Test func aGoodMessagePasses() {
        #expect(failure(plan(task: Proto().number(1, 2).message(3, Proto()))) == nil)
        #expect(failure(plan(slices: [range(0, 2), range(3, 4)])) == nil)
        #expect(failure(report([Proto().message(1, slice), Proto().message(1, Proto())])) == nil)
        #expect(failure(taskDone { $0.text(4, "") }) == nil)
        #expect(failure(Proto().message(34, Proto().message(1, slice).number(4, 0))) == nil)
        #expect(failure(Proto().message(35, Proto().message(1, slice).number(2, 0).message(7, Proto()))) == nil)
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
        #expect(failure(request().tensor(6, [24]), [bytes])?.code == .field)
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
        let record = Proto().message(1, slice).signed(3, 7)
        #expect(failure(Proto().message(35, record.message(5, Proto())).tensor(0, [6]), [bytes]) == nil)
        for content in [record.signed(6, 7), record.message(7, Proto())] {
            #expect(failure(Proto().message(35, content)) == nil)
            #expect(failure(Proto().message(35, content).tensor(0, [6]), [bytes])?.code == .tensor)
        }
        #expect(
            failure(Proto().message(34, Proto().message(1, slice).number(4, 0)).tensor(0, [6]), [bytes])?.code
                == .tensor)
        #expect(failure(Proto().message(46, Proto()).tensor(0, [6]), [bytes])?.code == .tensor)
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
            ("role", Proto().message(16, Proto().number(1, 3).number(2, version))),
            ("previous_number", Proto().message(16, Proto().number(2, version).signed(14, -2))),
            ("code", Proto().message(18, Proto().number(1, 99))), ("code", Proto().message(18, Proto())),
            ("exit_code", Proto().message(41, Proto().number(1, 256))),
            ("activity", Proto().message(23, Proto().message(1, id).number(8, 5))),
            ("term", request { $0.message(2, Proto().number(1, 1).number(3, 1 << 49)) }),
            ("revision", Proto().message(23, Proto().message(1, id).number(10, 1 << 49))),
            ("class_version", Proto().message(23, Proto().message(1, id).number(11, 1 << 49))),
            ("safe", Proto().message(23, Proto().message(1, id).signed(12, -2))),
            ("slices", plan(slices: [range(2, 3), range(0, 1)])), ("slices", plan(slices: [range(0, 2), range(1, 3)])),
            ("slices", plan(slices: [range(0, 1 << 17)])), ("slices", plan(slices: [range(1 << 20, 1 << 20 + 1)])),
            ("sample_rate", plan { $0.double(1, 1.5) }), ("sample_rate", plan { $0.double(1, .nan) }),
            ("m1", plan { $0.double(2, 0) }), ("m2", plan { $0.double(3, .infinity) }),
            ("m3", plan { $0.double(4, -101) }), ("scale", plan { $0.double(5, 0) }),
            ("interclass_filter", plan { $0.double(6, 2) }),
            ("slices", plan(slices: [range(0, 2), range(2, 3)])), ("slices", plan(slices: [range(0, 0)])),
            ("slices", plan(slices: [range(3, 1)])),
            ("step of a task", plan(task: Proto().signed(2, -2).message(3, Proto()))),
            ("number of a task", plan(task: Proto().number(1, 1 << 49).message(3, Proto()))),
            ("added", plan(task: Proto().message(7, Proto().message(1, Proto().number(1, 1 << 49))))),
            ("retired", plan(task: Proto().message(7, Proto().message(2, Proto().bytes(1, Proto.varint(1 << 49)))))),
            ("merged", plan(task: Proto().message(7, Proto().message(3, Proto().number(2, 1 << 49))))),
            ("newest", Proto().message(16, Proto().number(2, version).message(16, Proto().signed(1, -2)))),
            ("oldest", Proto().message(16, Proto().number(2, version).message(16, Proto().signed(2, .max)))),
            ("durable", heartbeat { $0.message(5, Proto().signed(2, -2)) }),
            ("received", report([Proto().message(1, slice), Proto().message(1, slice).signed(2, 5)])),
            ("received", report([Proto().message(1, slice).signed(2, -2)])),
            ("kind of a slice", report([Proto().message(1, Proto().number(1, 2))])),
            ("number of a slice", report([Proto().message(1, Proto().number(2, 1 << 25))])),
            ("number of a slice", report([Proto().message(1, Proto().number(2, 1 << 17))])),
            (
                "shard_seconds",
                Proto().message(
                    24, Proto().message(1, member).message(3, id).message(4, range(0, 0)).double(10, -1))
            ),
            ("number of a task", Proto().message(28, Proto().message(1, member).number(3, .max).text(4, ""))),
            ("record_after", Proto().message(34, Proto().message(1, slice).signed(5, -2))),
            ("term", Proto().message(34, Proto().message(1, slice).number(2, .max).number(4, 0))),
            ("chunk 3", Proto().message(35, Proto().message(1, slice).number(2, 3).message(4, Proto().number(1, 3)))),
            ("content", Proto().message(35, Proto().message(1, slice).number(2, 0).signed(6, 1))),
            ("content", Proto().message(35, Proto().message(1, slice).number(2, 0).message(5, Proto()))),
            ("content", Proto().message(35, Proto().message(1, slice).signed(3, 0).message(4, Proto().number(1, 1)))),
            ("up_to_date", Proto().message(35, Proto().message(1, slice).signed(3, 0).signed(6, -2))),
            ("version", Proto().message(47, Proto().number(1, .max))),
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
            Proto().message(23, Proto().message(1, id).number(8, 4)), plan(task: Proto().number(1, 2)),
            plan(task: Proto().message(7, Proto())), plan(task: Proto().message(8, Proto().message(1, Proto()))),
            Proto().message(23, Proto().message(1, id).message(13, Proto().message(1, slice).message(2, member))),
            report([Proto()]), Proto().message(28, Proto().text(4, "")), taskDone { $0 }, Proto().message(34, Proto()),
            Proto().message(34, Proto().message(1, slice)), Proto().message(34, Proto().number(4, 1)),
            Proto().message(35, Proto().message(1, slice).number(2, 0)),
            Proto().message(35, Proto().message(1, slice).message(7, Proto())),
            Proto().message(35, Proto().number(2, 0).message(7, Proto())),
        ] {
            #expect(failure(header)?.code == .field)
            #expect(failure(header)?.message.contains("missing") == true)
        }
    }

    @Test func textsThatAreTooLongOrNotText() {
        let long = String(repeating: "x", count: 257)
        #expect(failure(Proto().message(16, Proto().number(2, version).text(3, long)))?.code == .text)
        #expect(failure(Proto().message(16, Proto().number(2, version).bytes(4, [0x61, 0xc3])))?.code == .text)
        #expect(failure(Proto().message(16, Proto().number(2, version).bytes(4, [0xed, 0xa0, 0x80])))?.code == .text)
        #expect(
            failure(Proto().message(18, Proto().number(1, 1).text(2, String(repeating: "x", count: 4097))))?.code
                == .text)
        let entry = Proto().text(1, "twice").text(2, "x")
        #expect(failure(heartbeat { $0.message(4, entry).message(4, entry) })?.code == .text)
        let configuration = String(repeating: "x", count: 1 << 20 + 1)
        #expect(failure(Proto().message(17, Proto().message(3, member).text(4, configuration)))?.code == .text)
        #expect(failure(taskDone { $0.text(4, configuration) }, limits: .client)?.code == .text)
        let path = String(repeating: "x", count: 4097)
        #expect(failure(Proto().message(17, Proto().message(3, member).text(9, path)))?.code == .text)
        #expect(failure(plan(task: Proto().text(4, path)))?.code == .text)
        #expect(failure(plan(task: Proto().message(6, Proto().text(1, path))))?.code == .text)
        #expect(failure(plan(task: Proto().message(7, Proto().message(1, Proto().text(2, path)))))?.code == .text)
        #expect(failure(taskDone { $0.text(5, path) })?.code == .text)
        #expect(failure(taskDone { $0.bytes(5, [0xff]) })?.code == .text)
        #expect(failure(heartbeat { $0.message(5, Proto().text(4, path)) })?.code == .text)
        let record = Proto().message(1, slice).signed(3, 0).message(5, Proto().text(2, configuration))
        #expect(failure(Proto().message(35, record), limits: .client)?.code == .text)
    }

    @Test func countsAndSizesBeyondTheLimits() {
        var many = Proto().message(1, member)
        for index in 0..<257 { many = many.message(3, Proto().text(1, "\(index)")) }
        #expect(failure(Proto().message(20, many))?.code == .tooLarge)
        let ranges = (0...UInt64(1 << 16)).map { range(2 * $0, 2 * $0 + 1) }
        #expect(failure(plan(slices: ranges), limits: .client)?.code == .tooLarge)
        #expect(failure(plan(slices: Array(ranges.prefix(1 << 15))), limits: .client) == nil)
        let retired = Proto().bytes(1, [UInt8](repeating: 1, count: 1 << 16 + 1))
        #expect(
            failure(plan(task: Proto().message(7, Proto().message(2, retired))), limits: .client)?.code == .tooLarge)
        let moves = Proto(
            bytes: [UInt8]([[UInt8]](repeating: Proto().message(1, Proto()).bytes, count: 1 << 16 + 1).joined()))
        #expect(failure(plan(task: Proto().message(8, moves)), limits: .client)?.code == .tooLarge)
        let seconds = Proto().message(1, member).message(3, id).message(4, range(0, 0))
            .bytes(10, [UInt8](repeating: 0, count: 8 * 4097))
        #expect(failure(Proto().message(24, seconds))?.code == .tooLarge)
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
        func plan(_ kind: BoundaryTask.Kind) -> WireMessage {
            .plan(Samples.plan(.task(BoundaryTask(number: 1, step: 2, kind: kind))))
        }
        #expect(unencodable(plan(.checkpoint(directory: String(repeating: "x", count: 4097)))) == .text)
        #expect(unencodable(plan(.classes(.retire([-1])))) == .field)
        #expect(
            unencodable(plan(.classes(.retire(SliceSet(numbers: stride(from: 0, through: 2 << 16, by: 2))))))
                == .tooLarge)
        // A plan may be longer than a request: clients take it.
        #expect(unencodable(plan(.handOver([SliceMove](repeating: Samples.moves[0], count: 1 << 16)))) == nil)
        #expect(unencodable(plan(.handOver([SliceMove](repeating: Samples.moves[0], count: 1 << 16 + 1)))) == .tooLarge)
        #expect(unencodable(Samples.transfer(.chunk(3), .chunk(count: 3, step: 0, []))) == .field)
        #expect(unencodable(Samples.transfer(.record(after: 3), .chunk(count: 9, step: 0, []))) == .field)
        #expect(unencodable(Samples.transfer(.chunk(3), .upToDate(step: 0))) == .field)
        let detail = TaskDone(
            member: Samples.worker, incarnation: 1, number: 1,
            outcome: .done(detail: String(repeating: "x", count: 1 << 20 + 1)))
        #expect(unencodable(.taskDone(detail)) == .text)
        var welcome = Samples.welcome
        welcome.configuration = String(repeating: "x", count: 1 << 20)
        #expect(unencodable(.welcome(welcome)) == nil)
    }
}
