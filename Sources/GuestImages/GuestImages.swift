import Foundation

/// The guest code that was compiled with this package: the kernel Nub and the benchmark programs.
///
/// The files are resources of this target; SwiftPM lays them beside the executable (or the test bundle) in a folder
/// of their own, in every configuration. An installed `vbench` finds them when that folder is copied along.
public enum GuestImages {
    /// Path of the guest kernel, a 64-bit ELF.
    /// - Throws: `GuestImageError` when the image is not where it belongs.
    public static func kernel() throws -> String { try path(of: "nub") }

    /// Path of the benchmark program `name`, a static ELF that runs natively and in a guest; nil when there is none of that name.
    /// - Throws: `GuestImageError` when there should be one, but it is not where it belongs.
    public static func program(named name: String) throws -> String? {
        guard programs.contains(where: { $0.name == name }) else { return nil }
        return try path(of: name)
    }

    private static func path(of image: String) throws -> String {
        for folder in folders {
            let path = folder + "/" + image + ".elf"
            if FileManager.default.fileExists(atPath: path) { return path }
        }
        throw GuestImageError(image: image, folders: folders)
    }

    /// Where images may lie: the resource folder beside this executable.
    private static let folders: [String] = {
        let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
        return [executable + "/vbench_GuestImages.resources"]
    }()
}

/// A guest image is missing from the build or the installation.
public struct GuestImageError: Error, CustomStringConvertible, Equatable {
    public var image: String
    public var folders: [String]

    public var description: String {
        "guest image \(image).elf is not in \(folders.joined(separator: " or ")): run `swift build`, or copy the folder "
            + "vbench_GuestImages.resources to where vbench is installed"
    }
}
