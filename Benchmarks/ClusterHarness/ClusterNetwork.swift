internal import Foundation

/// A network of this machine's own: every process is at an address of its own, in a network namespace, and what one sends to another can
/// be lost, in one direction only.
///
/// A bridge joins the namespaces. Each knows the hardware addresses of the others from a fixed table. A direction is cut by a wrong entry
/// in the table of the sender: its packets go to an address that nobody has, and it is not told. Nothing of this machine's own network
/// changes, and everything is gone when this process ends. Use from one thread.
public final class ClusterNetwork {
    /// A place in the network: who runs there has this address.
    private struct Place {
        let number: Int
        let namespace: Process
        /// Closed with this process: then the namespace's holder ends.
        let lifeline: Pipe

        var path: String { "/proc/\(namespace.processIdentifier)/ns/net" }
        var address: String { ClusterNetwork.address(number) }
    }

    private var places: [String: Place] = [:]
    private let hub: Place
    /// Directions that are cut, by the names of sender and receiver.
    private var cuts: [(from: String, to: String)] = []

    /// Why there can be no such network here, in a sentence; nil if there can.
    public static let problem: String? = {
        do {
            let network = try ClusterNetwork()
            _ = try network.address(of: "probe")
            return nil
        } catch {
            return
                "network namespaces are not allowed here (run it as root, or with `unshare --map-root-user --net`): \(error)"
        }
    }()

    /// - Throws: `HarnessError` if namespaces are not allowed here, or a program for them is missing.
    public init() throws {
        hub = try Self.hold(1)
        try Self.configure(
            hub,
            [
                "link set lo up", "link add name hub type bridge", "link set hub address \(Self.hardware(1))",
                "addr add \(Self.address(1))/24 dev hub", "link set hub up",
            ])
    }

    deinit { for place in places.values + [hub] { try? place.lifeline.fileHandleForWriting.close() } }

    /// The address of a process; a namespace is made for it the first time.
    ///
    /// - Throws: `HarnessError` if that is not allowed.
    public func address(of name: String) throws -> String { try place(of: name).address }

    /// How a program is started at the place of a process, or, without a name, beside all of them.
    ///
    /// - Throws: `HarnessError` if there is no such place and it cannot be made.
    func command(_ program: URL, _ arguments: [String], at name: String? = nil) throws -> (URL, [String]) {
        let place = try name.map(place) ?? hub
        return (try Self.find("nsenter"), ["--net=\(place.path)", "--", program.path] + arguments)
    }

    /// From now on nothing that one process sends reaches the other.
    ///
    /// - Throws: `HarnessError` if the table of the sender cannot be changed.
    public func cut(from sender: String, to receiver: String) throws {
        cuts.append((sender, receiver))
        try point(sender, at: receiver, Self.hardware(0))
    }

    /// Everything reaches everyone again.
    ///
    /// - Throws: `HarnessError` if a table cannot be changed.
    public func mend() throws {
        for cut in cuts { try point(cut.from, at: cut.to, Self.hardware(place(of: cut.to).number)) }
        cuts = []
    }

    private func point(_ sender: String, at receiver: String, _ hardware: String) throws {
        let (sender, receiver) = (try place(of: sender), try place(of: receiver))
        try Self.configure(sender, ["neigh replace \(receiver.address) lladdr \(hardware) dev eth0 nud permanent"])
    }

    private func place(of name: String) throws -> Place {
        if let known = places[name] { return known }
        let number = places.count + 2
        guard number < 255 else { throw HarnessError("the network has room for 253 processes") }
        let place = try Self.hold(number)
        try Self.configure(
            hub,
            [
                "link add name to\(number) type veth peer name eth0 netns \(place.namespace.processIdentifier)",
                "link set to\(number) master hub", "link set to\(number) up",
            ])
        let others = [hub] + places.values
        try Self.configure(
            place,
            [
                "link set lo up", "link set eth0 address \(Self.hardware(number))",
                "addr add \(place.address)/24 dev eth0", "link set eth0 up",
            ] + others.map { Self.entry($0, "eth0") })
        for other in others { try Self.configure(other, [Self.entry(place, other.number == 1 ? "hub" : "eth0")]) }
        places[name] = place
        return place
    }

    private static func address(_ number: Int) -> String { "10.77.0.\(number)" }
    private static func hardware(_ number: Int) -> String {
        "02:00:00:00:00:" + String(number + 256, radix: 16).suffix(2)
    }
    private static func entry(_ place: Place, _ device: String) -> String {
        "neigh replace \(place.address) lladdr \(hardware(place.number)) dev \(device) nud permanent"
    }

    /// A namespace lives as long as a process in it.
    private static func hold(_ number: Int) throws -> Place {
        let process = Process()
        process.executableURL = try find("unshare")
        process.arguments = ["--net", "cat"]
        let (lifeline, errors) = (Pipe(), Pipe())
        process.standardInput = lifeline
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        try process.run()
        let place = Place(number: number, namespace: process, lifeline: lifeline)
        func name(_ path: String) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: path) }
        let (own, end) = (name("/proc/self/ns/net"), Date(timeIntervalSinceNow: 10))
        while name(place.path).map({ $0 == own }) ?? true {
            if !process.isRunning {
                let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                throw HarnessError(text.trimmingCharacters(in: .whitespacesAndNewlines))
            }
            if Date() > end { throw HarnessError("no network namespace came up in 10 s") }
            Thread.sleep(forTimeInterval: 0.005)
        }
        return place
    }

    /// Runs lines of `ip` in a namespace.
    private static func configure(_ place: Place, _ lines: [String]) throws {
        let process = Process()
        process.executableURL = try find("nsenter")
        process.arguments = ["--net=\(place.path)", "--", try find("ip").path, "-batch", "-"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data((lines.joined(separator: "\n") + "\n").utf8))
        try input.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw HarnessError("ip: \(text.trimmingCharacters(in: .whitespacesAndNewlines))")
        }
    }

    private static func find(_ program: String) throws -> URL {
        let paths = ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"].map { $0 + program }
        guard let path = paths.first(where: FileManager.default.isExecutableFile) else {
            throw HarnessError("\(program) is missing: apt-get install iproute2 util-linux")
        }
        return URL(fileURLWithPath: path)
    }
}
