// PixelMed's validator on several reports: one virtual machine and one reading of the templates for all of them.
public class ValidateAll {
    public static void main(String[] paths) throws Exception {
        var validator = new com.pixelmed.validate.DicomSRValidator();
        for (var path : paths) {
            System.out.println("File " + path + "\n" + validator.validate(path));
        }
    }
}
