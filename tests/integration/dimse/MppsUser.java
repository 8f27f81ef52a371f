import com.pixelmed.dicom.*;
import com.pixelmed.network.*;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedList;

/** A modality by PixelMed's association, PDUs and data sets; of the command sets, which PixelMed has for C-services only, it writes its own bytes. */
public class MppsUser {
    static final String MPPS = "1.2.840.10008.3.1.2.3.3";
    static final int N_SET = 0x0120, N_CREATE = 0x0140;

    static class Answer extends CompositeResponseHandler {
        AttributeList said;

        protected void evaluateStatusAndSetSuccess(AttributeList list) {
            said = list;
            setDone(true);
        }
    }

    static void put(ByteArrayOutputStream out, int element, byte[] value) {
        out.writeBytes(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putShort((short) 0).putShort((short) element).putInt(value.length).array());
        out.writeBytes(value);
    }

    static byte[] shortOf(int value) {
        return ByteBuffer.allocate(2).order(ByteOrder.LITTLE_ENDIAN).putShort((short) value).array();
    }

    static byte[] uid(String value) {
        return (value.length() % 2 == 0 ? value : value + "\0").getBytes(StandardCharsets.US_ASCII);
    }

    /** N-CREATE-RQ (PS3.7 Table 10.3-9) or N-SET-RQ (Table 10.3-5): one names the affected instance, the other the requested one. */
    static byte[] command(int field, int number, String instance) {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        put(body, field == N_SET ? 0x0003 : 0x0002, uid(MPPS));
        put(body, 0x0100, shortOf(field));
        put(body, 0x0110, shortOf(number));
        put(body, 0x0800, shortOf(0x0001));
        put(body, field == N_SET ? 0x1001 : 0x1000, uid(instance));
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        put(whole, 0x0000, ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(body.size()).array());
        whole.writeBytes(body.toByteArray());
        return whole.toByteArray();
    }

    static byte[] dataSet(String file, String syntax) throws Exception {
        AttributeList list = new AttributeList();
        list.read(file);
        list.removeMetaInformationHeaderAttributes();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        list.write(bytes, syntax, false, true);
        return bytes.toByteArray();
    }

    /** HOST PORT CALLED CALLING INSTANCE then pairs of create|set and a file; prints the status of each. */
    public static void main(String[] a) throws Exception {
        LinkedList<String> syntaxes = new LinkedList<>();
        syntaxes.add(TransferSyntax.ExplicitVRLittleEndian);
        LinkedList<PresentationContext> contexts = new LinkedList<>();
        contexts.add(new PresentationContext((byte) 1, MPPS, syntaxes));
        Association association = AssociationFactory.createNewAssociation(a[0], Integer.parseInt(a[1]), a[2], a[3], contexts, null, false);
        byte context = association.getSuitablePresentationContextID(MPPS);
        String syntax = association.getTransferSyntaxForPresentationContextID(context);
        for (int n = 5; n < a.length; n += 2) {
            int field = a[n].equals("set") ? N_SET : N_CREATE;
            Answer answer = new Answer();
            association.setReceivedDataHandler(answer);
            association.send(context, command(field, n, a[4]), null);
            association.send(context, null, dataSet(a[n + 1], syntax));
            association.waitForPDataPDUsUntilHandlerReportsDone();
            System.out.printf("%s 0x%04X%n", a[n], Attribute.getSingleIntegerValueOrDefault(answer.said, new AttributeTag(0, 0x0900), -1));
        }
        association.release();
    }
}
