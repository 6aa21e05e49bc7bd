internal import Foundation
internal import ProcessSupport

extension MetricsText {
    /// Appends what the operating system says of this process, under the names that Prometheus's own clients use.
    public mutating func addProcess() {
        let figures = ProcessFigures()
        add(
            "process_resident_memory_bytes", .gauge, "Memory in use by this process.",
            Double(ProcessMemory.residentBytes))
        add(
            "process_peak_resident_memory_bytes", .gauge, "The most memory that this process has ever used.",
            Double(ProcessMemory.peakResidentBytes))
        add("process_cpu_seconds_total", .counter, "Processor time of all threads.", figures?.cpuSeconds)
        add("process_threads", .gauge, "Threads of this process.", figures?.threads)
        add("process_start_time_seconds", .gauge, "When this process started, since 1970.", figures?.startTime)
        let descriptors = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        add("process_open_fds", .gauge, "Open file descriptors.", descriptors.map(Double.init))
    }

    /// Appends the program and its version.
    public mutating func addBuild(program: String, version: String) {
        add(
            "partialfc_build_info", .gauge, "The program and its version, as labels.",
            [Sample(1, ("program", program), ("version", version))])
    }

    /// Appends what an HTTP server has answered.
    public mutating func addHTTP(_ counters: [Int: Int]) {
        add(
            "partialfc_http_responses_total", .counter, "Answers of this HTTP server, by status.",
            counters.sorted { $0.key < $1.key }.map { Sample(Double($0.value), ("code", "\($0.key)")) })
    }
}

/// What `/proc/self/stat` says.
private struct ProcessFigures {
    var cpuSeconds: Double
    var threads: Double
    /// Seconds since 1970.
    var startTime: Double

    init?() {
        guard let stat = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
            let boot = try? String(contentsOfFile: "/proc/stat", encoding: .utf8),
            let name = stat.lastIndex(of: ")")
        else { return nil }
        // Behind the name, which may have spaces: the third field of proc(5) and those after it.
        let fields = stat[name...].split(separator: " ").dropFirst().map { Double($0) ?? 0 }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        guard fields.count > 20, ticks > 0 else { return nil }
        cpuSeconds = (fields[11] + fields[12]) / ticks
        threads = fields[17]
        let line = boot.split(separator: "\n").first { $0.hasPrefix("btime ") }
        startTime = (line.flatMap { Double($0.dropFirst(6)) } ?? 0) + fields[19] / ticks
    }
}
