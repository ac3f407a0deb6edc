/// The profiles inside the program.
///
/// SwiftPM embeds every file behind the symbolic link `BuiltIn` (which leads to `Media/profiles`) as a static member of
/// `PackageResources`; it makes no list of them, so here it is. A test compares it with the folder.
enum BuiltInProfiles {
    /// File name and content.
    static var all: [(file: String, content: [UInt8])] {
        [
            ("ibm-03584l32.json", PackageResources.ibm_03584l32_json),
            ("ibm-ult3580-td8.json", PackageResources.ibm_ult3580_td8_json),
        ]
    }
}
