internal import CZeroMQ
import Glibc

/// A thread that owns sockets: it waits for all of them at once, and for work from other threads.
///
/// Several connections may share one. A `ServerEndpoint` or `ClientConnection` that is given none makes its own.
public final class IOThread: Sendable {
    let core: IOCore

    /// Starts the thread.
    ///
    /// - Parameter linger: how long `close` waits for what is still to be sent.
    /// - Throws: `WireError` when the system has no threads or descriptors left.
    public init(linger: Duration = .seconds(1)) throws(WireError) {
        core = try IOCore(linger: linger)
        try core.start()
    }

    /// Closes every socket, ends the thread and waits for it. May be called again.
    public func close() { core.stop() }

    deinit { close() }
}

/// A socket and what is done with it, as the thread sees it. All methods are called on the thread.
protocol SocketDriver: AnyObject, Sendable {
    var socket: ZMQSocket { get }
    /// What is told of the socket's connections; nil if nobody wants to know.
    var monitor: SocketMonitor? { get }
    /// Whether there is room for what the socket would bring.
    var wantsMessages: Bool { get }
    /// Sends what is queued and does what is due; returns when it wants to be called again at the latest.
    func advance(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant?
    /// Reads a number of messages.
    func receive()
    /// Reads what is told of the connections.
    func observe()
    /// The socket is about to be closed.
    func detach()
}

extension SocketDriver {
    /// Closes the socket and what observes it.
    func close() {
        monitor?.close()
        socket.close()
    }
}

/// The thread's state and loop; `IOThread` is the handle that ends it.
final class IOCore: @unchecked Sendable {
    private struct Shared {
        var jobs: [@Sendable (IOCore) -> Void] = []
        var isStopping = false
        var hasEnded = false
    }

    let context: ZMQContext
    private let wakeDescriptor: Int32
    private let shared = Monitor(Shared())
    private let thread = Monitor<pthread_t?>(nil)
    private let authenticator = Monitor<ZAPHandler?>(nil)
    // Touched by the thread alone.
    private var drivers: [any SocketDriver] = []

    init(linger: Duration) throws(WireError) {
        context = try ZMQContext(linger: linger)
        wakeDescriptor = zmq_shim_wake_open()
        guard wakeDescriptor >= 0 else { throw ZMQSocket.error("cannot open an eventfd") }
    }

    deinit { Glibc.close(wakeDescriptor) }

    func start() throws(WireError) {
        var handle = pthread_t()
        let hold = Unmanaged.passRetained(self)
        let result = pthread_create(
            &handle, nil,
            { argument in
                if let argument { Unmanaged<IOCore>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, hold.toOpaque())
        guard result == 0 else {
            hold.release()
            context.terminate()
            throw WireError(.system, "cannot start a thread: \(String(cString: strerror(result)))")
        }
        thread.withLock { $0 = handle }
    }

    func stop() {
        shared.withLock { $0.isStopping = true }
        wake()
        let handle = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        guard let handle else { return }
        if pthread_equal(handle, pthread_self()) != 0 { pthread_detach(handle) } else { pthread_join(handle, nil) }
    }

    /// Makes the thread look at its queues.
    func wake() { zmq_shim_wake(wakeDescriptor) }

    /// Hands a socket to the thread.
    func add(_ driver: any SocketDriver) throws(WireError) {
        let accepted = submit { $0.drivers.append(driver) }
        guard accepted else { throw WireError(.closed, "the thread of the socket was closed") }
    }

    /// What answers whether peers of this context are let in; made when it is asked for the first time.
    func zapHandler() throws(WireError) -> ZAPHandler {
        try authenticator.withLock { known throws(WireError) in
            if let known { return known }
            let made = try ZAPHandler(context: context)
            do throws(WireError) { try add(made) } catch {
                made.socket.close()
                throw error
            }
            known = made
            return made
        }
    }

    /// Takes a socket from the thread, closes it, and waits until that is done.
    func remove(_ driver: any SocketDriver) {
        let done = Monitor(false)
        let accepted = submit { core in
            core.drivers.removeAll { $0 === driver }
            // What was handed in before goes out: a goodbye, for instance.
            _ = driver.advance(.now)
            driver.detach()
            driver.close()
            done.withLock { $0 = true }
            done.signal()
        }
        guard accepted, !isCurrent else { return }
        _ = done.wait(until: .now + .seconds(10)) { $0 ? true : nil }
    }

    private var isCurrent: Bool { thread.withLock { $0.map { pthread_equal($0, pthread_self()) != 0 } ?? false } }

    private func submit(_ job: @escaping @Sendable (IOCore) -> Void) -> Bool {
        let accepted = shared.withLock { shared in
            guard !shared.hasEnded else { return false }
            shared.jobs.append(job)
            return true
        }
        wake()
        return accepted
    }

    private func takeJobs() -> [@Sendable (IOCore) -> Void] {
        shared.withLock { shared in
            defer { shared.jobs = [] }
            return shared.jobs
        }
    }

    private func run() {
        while true {
            for job in takeJobs() { job(self) }
            if shared.withLock({ $0.isStopping }) { break }
            // The longest wait: nothing depends on it.
            var next = ContinuousClock.now + .seconds(1)
            for driver in drivers {
                if let wanted = driver.advance(.now) { next = min(next, wanted) }
            }
            poll(until: next)
        }
        shared.withLock { $0.hasEnded = true }
        for job in takeJobs() { job(self) }
        // The newest first: who asks whether peers are let in goes before who answers that.
        for driver in drivers.reversed() {
            _ = driver.advance(.now)
            driver.detach()
            driver.close()
        }
        drivers = []
        context.terminate()
    }

    private func poll(until deadline: ContinuousClock.Instant) {
        var items = [zmq_pollitem_t(socket: nil, fd: wakeDescriptor, events: Int16(ZMQ_POLLIN), revents: 0)]
        let listening = drivers.filter { $0.wantsMessages }
        for driver in listening {
            items.append(zmq_pollitem_t(socket: driver.socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0))
        }
        let observed = drivers.compactMap { driver in driver.monitor.map { (driver, $0) } }
        for (_, monitor) in observed {
            items.append(zmq_pollitem_t(socket: monitor.socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0))
        }
        let timeout = Int(max((deadline - .now), .zero).milliseconds)
        guard zmq_poll(&items, Int32(items.count), timeout) > 0 else { return }
        if items[0].revents != 0 { zmq_shim_wake_drain(wakeDescriptor) }
        for (driver, item) in zip(listening, items.dropFirst()) where item.revents != 0 { driver.receive() }
        for ((driver, _), item) in zip(observed, items.dropFirst(1 + listening.count)) where item.revents != 0 {
            driver.observe()
        }
    }
}
