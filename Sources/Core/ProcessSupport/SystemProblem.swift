internal import Foundation

/// What went wrong, in the system's words.
///
/// Foundation says "The operation could not be completed. (NSCocoaErrorDomain error 512.)", and keeps what the system said inside.
public enum SystemProblem {
    /// What an error says: of one of Foundation the system's reason, of any other its description.
    public static func text(_ error: any Error) -> String {
        guard error is CocoaError || error is POSIXError || type(of: error) == NSError.self else { return "\(error)" }
        let path = (error as NSError).userInfo[NSFilePathErrorKey] as? String
        let reason = reason(error)
        return path.map { "\($0): \(reason)" } ?? reason
    }

    /// The system's reason alone, without the path: `No such file or directory`.
    public static func reason(_ error: any Error) -> String {
        var next: (any Error)? = error
        while let known = next {
            let known = known as NSError
            if known.domain == NSPOSIXErrorDomain { return system(Int32(truncatingIfNeeded: known.code)) }
            next = known.userInfo[NSUnderlyingErrorKey] as? any Error
        }
        guard let error = error as? CocoaError else { return error.localizedDescription }
        switch error.code {
        case .fileNoSuchFile, .fileReadNoSuchFile: return system(ENOENT)
        case .fileReadNoPermission, .fileWriteNoPermission: return system(EACCES)
        case .fileWriteFileExists: return system(EEXIST)
        case .fileWriteOutOfSpace: return system(ENOSPC)
        case .fileWriteVolumeReadOnly: return system(EROFS)
        case .fileWriteUnknown: return "it cannot be written"
        case .fileReadUnknown: return "it cannot be read"
        default: return error.localizedDescription
        }
    }

    private static func system(_ code: Int32) -> String { String(cString: strerror(code)) }
}
