// Handshakes of JSSE, one per line of standard input: host, port, name and PEM file (or "system"), separated by tabs.
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.List;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class Probe {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        System.out.println("java " + System.getProperty("java.version"));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] asked = line.split("\t", -1);
            System.out.println(answer(asked[0], Integer.parseInt(asked[1]), asked[2], asked[3], Integer.parseInt(asked[4])));
        }
    }

    static String answer(String host, int port, String name, String trust, int milliseconds) {
        try (Socket plain = new Socket()) {
            plain.connect(new InetSocketAddress(host, port), milliseconds);
            plain.setSoTimeout(milliseconds);
            SSLSocket socket = (SSLSocket) context(trust).getSocketFactory().createSocket(plain, name, port, true);
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            if (!name.matches("[0-9.:]+")) {
                try {
                    parameters.setServerNames(List.of(new SNIHostName(name)));
                } catch (IllegalArgumentException notAName) {
                    // an underscore, say: what JSSE makes of it later is the answer
                }
            }
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            return "ok";
        } catch (Exception refused) {
            StringBuilder said = new StringBuilder();
            for (Throwable one = refused; one != null; one = one.getCause()) {
                if (said.length() > 0) said.append(" <- ");
                said.append(one.getClass().getSimpleName()).append(": ").append(one.getMessage());
            }
            return said.toString().replace('\n', ' ').replace('\r', ' ');
        }
    }

    static SSLContext context(String trust) throws Exception {
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        KeyStore store = null;
        if (!trust.equals("system")) {
            store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            int number = 0;
            if (!trust.isEmpty()) {
                try (FileInputStream file = new FileInputStream(trust)) {
                    for (Certificate one : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                        store.setCertificateEntry("trusted-" + number++, one);
                    }
                }
            }
        }
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }
}
