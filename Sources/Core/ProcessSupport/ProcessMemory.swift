internal import CKernels
internal import Foundation

/// What the operating system says of this process's memory.
public enum ProcessMemory {
    /// Resident bytes now; 0 where `/proc` is missing.
    public static var residentBytes: Int { field("VmRSS:") }

    /// The most bytes that were ever resident; 0 where `/proc` is missing.
    public static var peakResidentBytes: Int { field("VmHWM:") }

    /// Resident bytes of another process now; 0 where there is none.
    public static func residentBytes(of process: Int32) -> Int { field("VmRSS:", of: "/proc/\(process)/status") }

    /// The same of another process; 0 where there is none.
    public static func peakResidentBytes(of process: Int32) -> Int { field("VmHWM:", of: "/proc/\(process)/status") }

    /// Bytes that processes can still take without swapping; 0 where `/proc` is missing.
    public static var availableBytes: Int { field("MemAvailable:", of: "/proc/meminfo") }

    private static func field(_ name: String, of path: String = "/proc/self/status") -> Int {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return 0 }
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            return (Int(line.dropFirst(name.count).filter(\.isNumber)) ?? 0) * 1024
        }
        return 0
    }
}

extension ProcessMemory {
    /// Makes the allocator keep freed memory and not map large blocks anew.
    ///
    /// A step allocates and frees the same tens of megabytes; fresh pages cost more than the arithmetic on them.
    public static func keepFreedMemory() {
        pfc_keep_freed_memory()
    }
}
